"""All ranks' states in one, through ``torch.distributed``."""

from __future__ import annotations

import json
from typing import Any

from .errors import CheckpointError
from .loader import FORMAT, Loader, State


def gather_state(loader: Loader, group: Any = None, *, step: int | None = None) -> State:
    """All ranks' states after a step, on every rank: ``load_state_dict`` takes it for any world size.

    Args:
        group: the ``torch.distributed`` group of the data-parallel ranks; without one, all of them.
        step: as in :meth:`Loader.state_dict`.
    """
    own: Any = None
    failed: Exception | None = None
    try:
        own = loader.state_dict(step)
    except Exception as error:
        failed = error
    try:
        import torch.distributed as dist

        together = dist.is_available() and dist.is_initialized()
    except ImportError:
        together = False
    found: list[Any] = [(own, None if failed is None else str(failed))]
    if together:
        # One that failed takes part, or the others would wait for it.
        found = [None] * dist.get_world_size(group)
        dist.all_gather_object(found, (own, None if failed is None else str(failed)), group=group)
    if failed is not None:
        raise failed
    for number, (_, why) in enumerate(found):
        if why is not None:
            raise CheckpointError(f"rank {number} of the group has no state: {why}")
    parts = [part for part, _ in found]
    if any("ranks" in part for part in parts):
        # Nothing was delivered since all of it was loaded.
        return dict(next(part for part in parts if "ranks" in part))
    # Peers of one data-parallel rank have the same state.
    by_rank = {part["rank"]: part for part in parts}
    if {part["step"] for part in parts} != {own["step"]} or len(by_rank) != own["world_size"]:
        raise CheckpointError(
            f"the group has the states of ranks {sorted(by_rank)} of {own['world_size']} after steps "
            f"{sorted({part['step'] for part in parts})}: gather all ranks' of one step"
        )
    return {"format": FORMAT, "ranks": [by_rank[rank] for rank in sorted(by_rank)]}


class GatheredState:
    """A loader's state for ``torch.distributed.checkpoint``: all ranks' in one JSON text, the same on every rank, as of
    values under one key it keeps one rank's alone. Give it as a ``Stateful``: ``{"data": GatheredState(loader)}``."""

    def __init__(self, loader: Loader, group: Any = None) -> None:
        self._loader, self._group = loader, group
        #: The step whose state is saved; none: the last one that was delivered whole.
        self.step: int | None = None

    def state_dict(self) -> dict[str, str]:
        """All ranks' states as one text."""
        return {"packmill": json.dumps(gather_state(self._loader, self._group, step=self.step))}

    def load_state_dict(self, state: dict[str, str]) -> None:
        """Goes on from what :meth:`state_dict` gave, with any number of ranks."""
        self._loader.load_state_dict(json.loads(state["packmill"]))
