"""Lightning, where ``test_ranks.py`` does not train with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

import packmill
from packmill import Loader
from packmill.lightning import SaveLoader, batches
from test_loader import provenance

Make = Callable[..., dict[str, Any]]


class Net(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[Any] = []

    def training_step(self, batch: dict[str, Any], index: int) -> torch.Tensor:
        self.seen.append(provenance(batch))
        loss: torch.Tensor = self.weight.sum() * batch["num_tokens"]
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1e-6)


def trainer(folder: Path, *callbacks: Any, max_steps: int = 1) -> Any:
    return lightning.Trainer(
        max_steps=max_steps,
        callbacks=list(callbacks),
        default_root_dir=folder,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def test_the_state_is_of_the_trainers_step_and_not_of_what_is_fetched_ahead(
    few: Make, cache: Path, tmp_path: Path
) -> None:
    keys = few(pack={"sequence_length": 512}, batch={"rows": 1})
    whole = [provenance(batch) for batch in Loader(keys, cache=cache)]
    first = Loader(keys, cache=cache)
    trainer(tmp_path, SaveLoader(first), ModelCheckpoint(tmp_path, "saved", every_n_train_steps=3), max_steps=5).fit(
        Net(), batches(first)
    )
    second, net = Loader(keys, cache=cache), Net()
    trainer(tmp_path, SaveLoader(second), max_steps=7).fit(net, batches(second), ckpt_path=tmp_path / "saved.ckpt")
    assert net.seen == whole[3:7]


def test_another_accumulation_than_the_recipes_step_is_refused(few: Make, cache: Path, tmp_path: Path) -> None:
    loader = Loader(few(batch={"rows": 2, "step_rows": 4}), cache=cache)
    with pytest.raises(packmill.UsageError, match="accumulate_grad_batches=1.*step_rows: 2.*accumulate_grad_batches=2"):
        trainer(tmp_path, SaveLoader(loader)).fit(Net(), batches(loader))


def test_a_loader_of_another_rank_is_refused(few: Make, cache: Path, tmp_path: Path) -> None:
    loader = Loader(few(batch={"rows": 1, "step_rows": 2}), rank=1, world_size=2, cache=cache)
    with pytest.raises(packmill.UsageError, match="rank 0 of 1, and the loader 1 of 2"):
        trainer(tmp_path, SaveLoader(loader)).fit(Net(), batches(loader))


def test_a_checkpoint_without_the_loaders_state_is_refused(few: Make, cache: Path, tmp_path: Path) -> None:
    loader = Loader(few(), cache=cache)
    without = trainer(tmp_path)
    without.fit(Net(), batches(loader))
    without.save_checkpoint(tmp_path / "without.ckpt")
    again = Loader(few(), cache=cache)
    with pytest.raises(packmill.CheckpointError, match="without SaveLoader"):
        trainer(tmp_path, SaveLoader(again)).fit(Net(), batches(again), ckpt_path=tmp_path / "without.ckpt")
    loader.close()
