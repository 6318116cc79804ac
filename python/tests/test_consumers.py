"""Every record once, in its order, in each framework that takes a loader: over two epochs and a resume within."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import packmill
from packmill import Loader
from test_loader import Stream, provenance
from conftest import model

Make = Callable[..., dict[str, Any]]
Seen = list[list[tuple[int, ...]]]


@pytest.fixture
def keys(recipe: Make) -> dict[str, Any]:
    return recipe(
        plan="global",
        epochs=2,
        pack={"sequence_length": 1024},
        batch={"rows": 2, "step_rows": 4},
    )


@pytest.fixture
def whole(keys: dict[str, Any], cache: Path) -> Seen:
    """What all batches hold, in their order."""
    loader = Loader(keys, cache=cache)
    seen = [provenance(batch) for _ in range(2) for batch in loader]
    records = [row[:6] for batch in seen for row in batch]
    assert len(records) == len(set(records)) == 600
    return seen


def test_lightning(keys: dict[str, Any], whole: Seen, cache: Path, tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning")
    pl = pytest.importorskip("packmill.lightning")
    seen: Seen = []

    class Net(lightning.LightningModule):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def training_step(self, batch: dict[str, Any], index: int) -> torch.Tensor:
            seen.append(provenance(batch))
            return self.weight.sum() * batch["num_tokens"]

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=1e-6)

    def fit(steps: int, resume: Path | None) -> None:
        loader = Loader(keys, cache=cache)
        trainer = lightning.Trainer(
            max_steps=steps,
            max_epochs=2,
            accumulate_grad_batches=2,
            callbacks=[pl.SaveLoader(loader)],
            default_root_dir=tmp_path,
            use_distributed_sampler=False,
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(Net(), pl.batches(loader), ckpt_path=resume)
        trainer.save_checkpoint(tmp_path / "last.ckpt")

    fit(5, None)
    assert seen == whole[:10]
    fit(9, tmp_path / "last.ckpt")
    assert seen == whole[:18]
    loader = Loader(keys, cache=cache)
    with pytest.raises(packmill.UsageError, match="step_rows"):
        lightning.Trainer(
            accelerator="cpu", logger=False, callbacks=[pl.SaveLoader(loader)], max_steps=1
        ).fit(Net(), pl.batches(loader))


def test_torchdata(keys: dict[str, Any], whole: Seen, cache: Path) -> None:
    torchdata = pytest.importorskip("torchdata.stateful_dataloader")

    class Stateful(Stream):
        def state_dict(self) -> dict[str, Any]:
            return self.loader.state_dict()

        def load_state_dict(self, state: dict[str, Any]) -> None:
            self.loader.load_state_dict(state)

    def loader() -> Any:
        return torchdata.StatefulDataLoader(
            Stateful(Loader(keys, cache=cache)), batch_size=None, num_workers=0
        )

    seen: Seen = []
    first = loader()
    for batch in first:
        seen.append(provenance(batch))
        if len(seen) == 6:
            break
    second = loader()
    second.load_state_dict(first.state_dict())
    for _ in range(2):
        seen += [provenance(batch) for batch in second]
    assert seen == whole


def test_accelerate(keys: dict[str, Any], whole: Seen, cache: Path) -> None:
    accelerate = pytest.importorskip("accelerate")
    accelerator = accelerate.Accelerator(cpu=True)
    loader = Loader(keys, cache=cache)
    net = model()
    _, _, prepared = accelerator.prepare(net, torch.optim.SGD(net.parameters()), loader)
    assert prepared is loader
    assert [provenance(batch) for _ in range(2) for batch in prepared] == whole


def test_a_loop_with_distributed_checkpoint(
    keys: dict[str, Any], whole: Seen, cache: Path, tmp_path: Path
) -> None:
    """As torchtitan does it: a Stateful beside the model, saved by step."""
    import torch.distributed.checkpoint as dcp

    seen: Seen = []
    loader = Loader(keys, cache=cache)
    for batch in loader:
        seen.append(provenance(batch))
        if len(seen) == 7:
            break
    # Fetched ahead of the third step.
    state = packmill.GatheredState(loader)
    state.step = 3
    dcp.save({"data": state}, checkpoint_id=str(tmp_path / "step-3"), no_dist=True)
    again = Loader(keys, cache=cache)
    dcp.load({"data": packmill.GatheredState(again)}, checkpoint_id=str(tmp_path / "step-3"), no_dist=True)
    rest = [provenance(batch) for _ in range(2) for batch in again]
    assert seen[:6] + rest == whole


def test_jax(keys: dict[str, Any], whole: Seen, cache: Path) -> None:
    jax = pytest.importorskip("jax")
    loader = Loader(keys, tensors="jax", cache=cache)
    raw, _ = loader.open()._live().next_batch()
    for name, tensor in raw.items():
        if isinstance(tensor, packmill.Tensor) and name != "provenance":
            array = jax.dlpack.from_dlpack(tensor)
            assert array.unsafe_buffer_pointer() == tensor.data_ptr(), name
    loader.close()
    loader = Loader(keys, tensors="jax", cache=cache)
    assert [provenance(batch) for _ in range(2) for batch in loader] == whole
