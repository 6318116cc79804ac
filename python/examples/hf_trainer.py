"""Hugging Face's Trainer, stopped and gone on with."""

from __future__ import annotations

from tempfile import mkdtemp

import transformers
from _common import model, recipe

import packmill
import packmill.hf

keys = recipe(epochs=None, batch={"rows": 2, "step_rows": 4})
folder = mkdtemp(prefix="packmill-trainer-")
Trainer = packmill.hf.with_loader(transformers.Trainer)


def train(steps: int, resume: bool) -> None:
    args = transformers.TrainingArguments(
        output_dir=folder,
        max_steps=steps,
        save_steps=2,
        logging_steps=1,
        gradient_accumulation_steps=2,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = Trainer(model=model(), args=args, loader=packmill.Loader(keys))
    trainer.train(resume_from_checkpoint=resume)
    print([round(entry["loss"], 4) for entry in trainer.state.log_history if "loss" in entry])


train(4, resume=False)
train(6, resume=True)
