"""Hugging Face's Trainer and TRL's SFTTrainer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import packmill
import packmill.torch
from packmill import Loader, UsageError
from conftest import model

Make = Callable[..., dict[str, Any]]

transformers = pytest.importorskip("transformers")
hf = pytest.importorskip("packmill.hf")


def arguments(folder: Path, **options: Any) -> Any:
    return transformers.TrainingArguments(
        output_dir=str(folder),
        max_steps=6,
        logging_steps=1,
        save_steps=2,
        gradient_accumulation_steps=2,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        **options,
    )


def losses(trainer: Any) -> list[float]:
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def test_trainer_trains_on_the_rows_and_goes_on_exactly(recipe: Make, cache: Path, tmp_path: Path) -> None:
    keys = recipe(
        epochs=None, pack={"sequence_length": 256}, batch={"rows": 2, "step_rows": 4}, split={"fraction": 0.1}
    )
    Trainer = hf.with_loader(transformers.Trainer)

    def trainer(folder: str, **options: Any) -> Any:
        args = arguments(tmp_path / folder, **options)
        return Trainer(model=model(attention_dropout=0.1), args=args, loader=Loader(keys, cache=cache))

    whole = trainer("whole")
    whole.train()
    saved = sorted(path.name for path in (tmp_path / "whole" / "checkpoint-4").glob("packmill-*"))
    assert saved == ["packmill-rank-00000-of-00001.json"]
    again = trainer("whole")
    again.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-2"))
    assert losses(again) == losses(whole) and len(losses(whole)) == 6
    with pytest.raises(UsageError, match="stands at step 6"):
        again.train()
    os.remove(tmp_path / "whole" / "checkpoint-4" / saved[0])
    with pytest.raises(packmill.CheckpointError, match="no state"):
        trainer("whole").train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-4"))
    with pytest.raises(packmill.CheckpointError, match="no checkpoint"):
        trainer("empty").train(resume_from_checkpoint=True)


@pytest.mark.parametrize("flat", [False, True])
def test_the_evaluations_loss_is_the_token_mean(
    recipe: Make, cache: Path, tmp_path: Path, flat: bool
) -> None:
    # The last step's second batch only fills it.
    keys = recipe(
        epochs=None,
        pack={"sequence_length": 1024},
        batch={"rows": 2, "step_rows": 4},
        split={"fraction": 0.1},
    )
    loader = Loader(keys, cache=cache)
    filling = [batch["num_label_tokens"] for batch in loader.eval()]
    if filling[-1] != 0:
        keys["split"] = {"fraction": 0.05}
        loader = Loader(keys, cache=cache)
        filling = [batch["num_label_tokens"] for batch in loader.eval()]
    assert filling[-1] == 0, filling
    net = model()
    args = arguments(tmp_path, eval_strategy="steps", eval_steps=3)
    trainer = hf.with_loader(transformers.Trainer)(model=net, args=args, loader=loader, flat=flat)
    found = trainer.evaluate()["eval_loss"]
    net.eval()
    with torch.no_grad():
        batches = list(loader.eval())
        inputs = [{n: b[n] for n in ("input_ids", "position_ids", "labels")} for b in batches]
        losses = [(net(**one).loss, b["num_label_tokens"]) for one, b in zip(inputs, batches)]
    assert found == pytest.approx(packmill.torch.token_mean(losses), rel=1e-5)
    trainer.train()
    evaluated = [entry for entry in trainer.state.log_history if "eval_loss" in entry]
    assert [entry["step"] for entry in evaluated] == [3, 6]


def test_epochs_of_other_lengths_are_trained_whole(recipe: Make, cache: Path, tmp_path: Path) -> None:
    keys = recipe(plan="global", epochs=4, pack={"sequence_length": 512}, batch={"rows": 1, "step_rows": 2})
    for seed in range(40):
        loader = Loader({**keys, "seed": seed}, cache=cache)
        lengths = loader.open()._stream.outlook()[1]
        if len(set(lengths)) > 1:
            break
        loader.close()
    assert len(set(lengths)) > 1
    args = arguments(tmp_path, save_strategy="no")
    args.max_steps = -1
    trainer = hf.with_loader(transformers.Trainer)(model=model(), args=args, loader=loader)
    trainer.train()
    assert trainer.state.global_step == sum(lengths)
    assert loader.progress()["ledger"]["chats"]["records"]["delivered"] == 1200


def test_a_global_plan_gives_the_trainer_its_length(recipe: Make, cache: Path, tmp_path: Path) -> None:
    keys = recipe(plan="global", epochs=2, pack={"sequence_length": 2048}, batch={"rows": 2, "step_rows": 4})
    loader = Loader(keys, cache=cache)
    steps = sum(loader.open()._stream.outlook()[1])
    args = arguments(tmp_path, num_train_epochs=2)
    args.max_steps = -1
    trainer = hf.with_loader(transformers.Trainer)(model=model(), args=args, loader=loader)
    trainer.train()
    assert trainer.state.global_step == steps
    assert loader.progress()["ledger"]["chats"]["records"]["delivered"] == 600


def test_flat_batches_say_where_segments_are(recipe: Make, cache: Path) -> None:
    loader = Loader(recipe(pack={"sequence_length": 256}), cache=cache)
    batch = next(iter(hf.TrainerBatches(loader, flat=True)))
    assert "attention_mask" not in batch and batch["input_ids"].shape == (1, 512)
    cuts = batch["cu_seq_lens_q"]
    assert batch["max_length_q"] == int(cuts.diff().max())
    starts = (batch["position_ids"][0] == 0).nonzero().flatten()
    assert cuts[:-1].tolist() == starts.tolist()
    changes = (batch["seq_idx"][0].diff() != 0).nonzero().flatten() + 1
    assert changes.tolist() == cuts[1:-1].tolist()
    loader.close()


@pytest.mark.parametrize(
    ("keys", "options", "extra", "says"),
    [
        ({"batch": {"rows": 2}}, {}, {}, r"step_rows: 4"),
        ({"batch": {"rows": 2, "step_rows": 4, "labels": "shifted"}}, {}, {}, "labels: aligned"),
        ({"mask": {"weights": "use"}}, {}, {}, "weights: refuse"),
        ({}, {"use_cache": True}, {}, "attends to all"),
        ({}, {}, {"train_dataset": [1]}, "leave it out"),
        ({}, {}, {"data_collator": len}, "leave it out"),
        ({}, {}, {"loader": ("numpy", 0, 1)}, "tensors='torch'"),
        ({}, {}, {"loader": ("torch", 1, 2)}, "loader 1 of 2"),
    ],
)
def test_what_would_go_wrong_without_a_word_is_refused(
    recipe: Make, cache: Path, tmp_path: Path, keys: Any, options: Any, extra: Any, says: str
) -> None:
    keys = recipe(**{"epochs": None, "batch": {"rows": 2, "step_rows": 4}, **keys})
    tensors, rank, world = extra.pop("loader", ("torch", 0, 1))
    if world > 1:
        keys["batch"] = {"rows": 2, "step_rows": 8}
    loader = Loader(keys, tensors=tensors, rank=rank, world_size=world, cache=cache)
    with pytest.raises(UsageError, match=says):
        hf.with_loader(transformers.Trainer)(
            model=model(), args=arguments(tmp_path, **options), loader=loader, **extra
        )


def test_a_model_that_takes_means_of_its_own_is_refused(recipe: Make, cache: Path, tmp_path: Path) -> None:
    net = model()
    net.accepts_loss_kwargs = False
    loader = Loader(recipe(epochs=None, batch={"rows": 2, "step_rows": 4}), cache=cache)
    with pytest.raises(UsageError, match="num_items_in_batch"):
        hf.with_loader(transformers.Trainer)(model=net, args=arguments(tmp_path), loader=loader)


SFT = """
import json, os, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import torch, transformers, trl
import packmill, packmill.hf
from conftest import model

keys, folder, cache, resume, kill = json.loads(sys.argv[1])

class Kill(transformers.TrainerCallback):
    def on_step_end(self, args, state, control, **_):
        if kill and state.global_step == kill:
            os.kill(os.getpid(), 9)

args = trl.SFTConfig(output_dir=folder, max_steps=20, logging_steps=1, save_steps=5, gradient_accumulation_steps=2,
    report_to=[], use_cpu=True, disable_tqdm=True, bf16=False, gradient_checkpointing=False, seed=3)
rank, world = args.process_index, args.world_size
loader = packmill.Loader(keys, rank=rank, world_size=world, cache=cache)
tokenizer = transformers.AutoTokenizer.from_pretrained(keys["tokenizer"])
trainer = packmill.hf.with_loader(trl.SFTTrainer)(
    model=model(attention_dropout=0.1), args=args, loader=loader, processing_class=tokenizer, callbacks=[Kill()])
trainer.train(resume_from_checkpoint=resume)
if rank == 0:
    losses = [[e["step"], e["loss"]] for e in trainer.state.log_history if "loss" in e]
    Path(folder, "losses.json").write_text(json.dumps(losses))
if torch.distributed.is_initialized():
    torch.distributed.destroy_process_group()
"""


@pytest.mark.parametrize("ranks", [1, 2])
def test_sfttrainer_killed_goes_on_bit_for_bit(
    recipe: Make, cache: Path, tmp_path: Path, ranks: int
) -> None:
    pytest.importorskip("trl")
    keys = recipe(
        epochs=None, pack={"sequence_length": 256}, batch={"rows": 2, "step_rows": 4 * ranks}
    )
    program = tmp_path / "train.py"
    program.write_text(SFT.format(tests=str(Path(__file__).parent)))
    start = [sys.executable]
    if ranks > 1:
        start += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]

    def train(folder: str, resume: bool, kill: int) -> int:
        given = json.dumps([keys, str(tmp_path / folder), str(cache), resume, kill])
        return subprocess.run(
            [*start, str(program), given], timeout=600, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
        ).returncode

    assert train("whole", False, 0) == 0
    ended = train("killed", False, 13)
    assert ended == (-signal.SIGKILL if ranks == 1 else 1)
    assert not (tmp_path / "killed" / "losses.json").exists()
    assert train("killed", True, 0) == 0
    whole, again = (json.loads((tmp_path / f / "losses.json").read_text()) for f in ("whole", "killed"))
    assert [step for step, _ in whole] == list(range(1, 21))
    assert [entry for entry in again if entry[0] > 10] == whole[10:]
