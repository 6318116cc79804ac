"""packmill in Lightning.

    loader = packmill.Loader("recipe.yaml", rank=rank, world_size=world_size)
    trainer = lightning.Trainer(callbacks=[packmill.lightning.SaveLoader(loader)], use_distributed_sampler=False)
    trainer.fit(module, packmill.lightning.batches(loader))

Lightning would call a loader's own ``state_dict()``, save rank 0's and load it on all ranks, a micro-batch late. So it is
given batches without one, and a callback that keeps every rank's state by the trainer's own step.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lightning.pytorch.callbacks import Callback

from .errors import CheckpointError
from .loader import Loader
from .state import gather_state
from .steps import refuse_other_ranks, refuse_other_steps
from .tensors import Batch


class _Batches:
    """The loader's batches, without anything that Lightning would take for its own."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def __iter__(self) -> Iterator[Batch]:
        return iter(self._loader)


def batches(loader: Loader) -> _Batches:
    """What to give ``Trainer.fit``: every rank its own rows, with nothing dealt again."""
    return _Batches(loader)


class SaveLoader(Callback):
    """Saves and restores where the loader stands, with each of Lightning's checkpoints: of all ranks, for any number of
    them to go on from."""

    KEY = "packmill"

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def setup(self, trainer: Any, module: Any, stage: str) -> None:
        """Refuses what would save another step's state, or deal rows anew."""
        refuse_other_steps(self._loader, "accumulate_grad_batches", trainer.accumulate_grad_batches)
        refuse_other_ranks(self._loader, trainer.global_rank, trainer.world_size)

    def on_save_checkpoint(self, trainer: Any, module: Any, checkpoint: dict[str, Any]) -> None:
        """Called on every rank."""
        checkpoint[self.KEY] = gather_state(self._loader, step=trainer.global_step)

    def on_load_checkpoint(self, trainer: Any, module: Any, checkpoint: dict[str, Any]) -> None:
        """Called before the first batch is asked for."""
        state = checkpoint.get(self.KEY)
        if state is None:
            raise CheckpointError("the checkpoint has no state of a packmill loader: was it saved without SaveLoader?")
        self._loader.load_state_dict(state)
