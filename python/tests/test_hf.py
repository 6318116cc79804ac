"""Hugging Face's Trainer and TRL's SFTTrainer."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import children
import packmill
import packmill.torch
from conftest import model
from packmill import Loader, UsageError, hf

Make = Callable[..., dict[str, Any]]


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


def epoch_lengths(loader: Loader) -> list[int]:
    outlook = loader.open()._live().outlook()
    assert outlook is not None
    return outlook[1]


def test_trainer_trains_on_the_rows_and_goes_on_exactly(recipe: Make, cache: Path, tmp_path: Path) -> None:
    keys = recipe(
        epochs=None, pack={"sequence_length": 256}, batch={"rows": 2, "step_rows": 4}, split={"fraction": 0.1}
    )
    Trainer = hf.with_loader(transformers.Trainer)

    def trainer(folder: str, **options: Any) -> Any:
        args = arguments(tmp_path / folder, **options)
        net = model(layers=1, width=16, attention_dropout=0.1)
        return Trainer(model=net, args=args, loader=Loader(keys, cache=cache))

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


def test_states_are_there_before_older_checkpoints_go(
    recipe: Make, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a kill between the two would leave no checkpoint to go on from."""
    keys = recipe(epochs=None, pack={"sequence_length": 256}, batch={"rows": 2, "step_rows": 4})
    removed: list[str] = []

    def remove(path: Any, *_: Any, **__: Any) -> None:
        newest = max((tmp_path.glob("checkpoint-*")), key=lambda folder: int(folder.name.split("-")[1]))
        assert len(hf.read_states(newest)) == 1
        removed.append(Path(path).name)

    monkeypatch.setattr("shutil.rmtree", remove)
    args = arguments(tmp_path, save_total_limit=1)
    net = model(layers=1, width=16)
    hf.with_loader(transformers.Trainer)(model=net, args=args, loader=Loader(keys, cache=cache)).train()
    assert removed


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
    net = model(layers=1, width=16)
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


def test_epochs_of_other_lengths_are_trained_whole(few: Make, cache: Path, tmp_path: Path) -> None:
    keys = few(plan="global", epochs=4, pack={"sequence_length": 512}, batch={"rows": 1, "step_rows": 2})
    for seed in range(40):
        loader = Loader({**keys, "seed": seed}, cache=cache)
        lengths = epoch_lengths(loader)
        if len(set(lengths)) > 1:
            break
        loader.close()
    assert len(set(lengths)) > 1
    args = arguments(tmp_path, save_strategy="no")
    args.max_steps = -1
    trainer = hf.with_loader(transformers.Trainer)(model=model(layers=1, width=16), args=args, loader=loader)
    trainer.train()
    assert trainer.state.global_step == sum(lengths)
    assert loader.progress()["ledger"]["chats"]["records"]["delivered"] == 4 * 40


def test_a_global_plan_gives_the_trainer_its_length(few: Make, cache: Path, tmp_path: Path) -> None:
    keys = few(plan="global", epochs=2, pack={"sequence_length": 512}, batch={"rows": 2, "step_rows": 4})
    loader = Loader(keys, cache=cache)
    steps = sum(epoch_lengths(loader))
    args = arguments(tmp_path, num_train_epochs=2)
    args.max_steps = -1
    trainer = hf.with_loader(transformers.Trainer)(model=model(layers=1, width=16), args=args, loader=loader)
    trainer.train()
    assert trainer.state.global_step == steps
    assert loader.progress()["ledger"]["chats"]["records"]["delivered"] == 2 * 40


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


def fine_tune(keys: dict[str, Any], folder: str, cache: str, resume: bool, kill: int) -> None:
    """20 steps of SFTTrainer on this rank, which ends itself after step ``kill``."""
    import trl

    class Kill(transformers.TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == kill:
                os.kill(os.getpid(), signal.SIGKILL)

    args = trl.SFTConfig(
        output_dir=folder,
        max_steps=20,
        logging_steps=1,
        save_steps=5,
        gradient_accumulation_steps=2,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        bf16=False,
        gradient_checkpointing=False,
        seed=3,
    )
    trainer = hf.with_loader(trl.SFTTrainer)(
        model=model(attention_dropout=0.1),
        args=args,
        loader=Loader(keys, rank=args.process_index, world_size=args.world_size, cache=cache),
        processing_class=transformers.AutoTokenizer.from_pretrained(keys["tokenizer"]),
        callbacks=[Kill()],
    )
    trainer.train(resume_from_checkpoint=resume)
    if args.process_index == 0:
        steps = [[entry["step"], entry["loss"]] for entry in trainer.state.log_history if "loss" in entry]
        Path(folder, "losses.json").write_text(json.dumps(steps))
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize("ranks", [1, 2])
def test_sfttrainer_killed_goes_on_bit_for_bit(recipe: Make, cache: Path, tmp_path: Path, ranks: int) -> None:
    keys = recipe(epochs=None, pack={"sequence_length": 256}, batch={"rows": 2, "step_rows": 4 * ranks})

    def begin(name: str, resume: bool, kill: int) -> list[Any]:
        log = tmp_path / f"{name}-{resume}.log"
        given = (keys, str(tmp_path / name), str(cache), resume, kill)
        return children.start_ranks(ranks, fine_tune, *given, log=log)

    def logs() -> str:
        return "\n".join(path.read_text() for path in tmp_path.glob("*.log*"))

    undisturbed, killed = begin("whole", False, 0), begin("killed", False, 13)
    codes = children.ended(killed)
    # The other rank may miss the first before it ends itself.
    assert -signal.SIGKILL in codes and 0 not in codes and None not in codes, logs()
    assert not (tmp_path / "killed" / "losses.json").exists()
    assert (tmp_path / "killed" / "checkpoint-10").exists() and not (tmp_path / "killed" / "checkpoint-15").exists()
    again = begin("killed", True, 0)
    assert children.ended(undisturbed + again) == [0] * 2 * ranks, logs()
    whole, rest = (json.loads((tmp_path / name / "losses.json").read_text()) for name in ("whole", "killed"))
    assert [step for step, _ in whole] == list(range(1, 21))
    assert [entry for entry in rest if entry[0] > 10] == whole[10:]
