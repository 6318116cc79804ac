"""Lightning, with the loader's state in its checkpoints."""

from __future__ import annotations

from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import lightning
import torch
from _common import model, recipe

import packmill
import packmill.lightning

keys = recipe(epochs=None, batch={"rows": 2, "step_rows": 4})


class Tuned(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = model()

    def training_step(self, batch: dict[str, Any], index: int) -> torch.Tensor:
        inputs = {name: batch[name] for name in ("input_ids", "position_ids", "labels")}
        loss: torch.Tensor = self.net(**inputs).loss
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters())


def fit(steps: int, folder: Path, resume: Path | None) -> packmill.Loader:
    loader = packmill.Loader(keys)
    trainer = lightning.Trainer(
        max_steps=steps,
        accumulate_grad_batches=loader.micro_batches,
        callbacks=[packmill.lightning.SaveLoader(loader)],
        default_root_dir=folder,
        use_distributed_sampler=False,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Tuned(), packmill.lightning.batches(loader), ckpt_path=resume)
    trainer.save_checkpoint(folder / "last.ckpt")
    return loader


folder = Path(mkdtemp(prefix="packmill-lightning-"))
fit(3, folder, None).close()
print("went on to step", fit(5, folder, folder / "last.ckpt").state_dict(5)["step"])
