"""packmill in Hugging Face's ``Trainer`` and what derives from it, TRL's ``SFTTrainer`` among them.

    trainer = packmill.hf.with_loader(SFTTrainer)(model=model, args=args, loader=packmill.Loader("recipe.yaml"))
    trainer.train(resume_from_checkpoint=True)

The trainer gets the batches as they are: every other way (a ``DataLoader`` that Accelerate prepares, an
``IterableDataset``) deals them anew, and trains on one rank's rows everywhere, or on a part of them, without a word.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from .errors import CheckpointError, UsageError
from .loader import Loader
from .steps import refuse_other_ranks, refuse_other_steps
from .tensors import Batch


class TrainerBatches:
    """What a trainer iterates: of each batch what models take, and nothing that moves it to other ranks.

    Never an ``attention_mask``: an all-ones one would switch off the models' own finding of segments.

    Args:
        flat: one row ``[1, rows × S]`` with ``cu_seq_lens_q``, ``cu_seq_lens_k``, ``max_length_q``, ``max_length_k`` and
            ``seq_idx``, as models with FlashAttention take them; else ``[rows, S]``.
    """

    def __init__(self, loader: Loader, *, flat: bool = False) -> None:
        self.loader = loader
        self.flat = flat

    def __iter__(self) -> Iterator[Batch]:
        # All of the stream: a trainer takes one epoch's length for all epochs', and would skip what is beyond it. So this
        # has no length, and the trainer gets the number of steps.
        while True:
            delivered = False
            for batch in self.loader:
                delivered = True
                yield _flat(batch) if self.flat else _square(batch)
            if not delivered:
                return


def _square(batch: Batch) -> Batch:
    out = {name: batch[name] for name in ("input_ids", "labels", "position_ids")}
    # With a cache, models do not look for segments, and every token attends to all before it.
    out["use_cache"] = False
    return out


def _flat(batch: Batch) -> Batch:
    out = {name: batch[name].reshape(1, -1) for name in ("input_ids", "labels", "position_ids")}
    out["use_cache"] = False
    cuts, longest = batch["cu_seqlens"], batch["max_seqlen"]
    runs = torch.arange(len(cuts) - 1, dtype=torch.int32)
    out["seq_idx"] = torch.repeat_interleave(runs, cuts.diff()).reshape(1, -1)
    out["cu_seq_lens_q"] = out["cu_seq_lens_k"] = cuts
    out["max_length_q"] = out["max_length_k"] = longest
    return out


def with_loader(trainer_class: type) -> Any:
    """A subclass of a ``Trainer`` class that takes ``loader=`` in place of data sets.

    Its constructor also takes ``flat=`` (see :class:`TrainerBatches`; by default as the model's attention asks) and refuses
    what would go wrong without a word. Evaluation reads the recipe's eval side, where it has a ``split``, and its loss is the
    exact mean over tokens. Each ``checkpoint-N`` holds the loader's state: of all ranks, for any number of them to go on from.
    With ``plan: global`` and ``epochs: N`` the trainer's ``max_steps`` is the stream's, where it is not given.

    Raises:
        UsageError: for a setting that would train on other rows or another mean than it seems to, with the right one.
    """
    is_sft = any(base.__name__ == "SFTTrainer" for base in trainer_class.__mro__)

    class WithLoader(trainer_class):  # type: ignore[misc]
        def __init__(
            self,
            *positional: Any,
            loader: Loader,
            flat: bool | None = None,
            **keywords: Any,
        ) -> None:
            args = keywords.get("args", positional[1] if len(positional) > 1 else None)
            if args is None:
                raise UsageError(f"give {trainer_class.__name__} its args=, so that they can be held against the recipe")
            _refuse_what_goes_wrong(loader, args, keywords)
            self.packmill_loader = loader
            self.packmill_evaluates = _has_eval_side(loader) and keywords.get("eval_dataset") is None
            if args.max_steps <= 0 and loader.total_steps is not None:
                args.max_steps = loader.total_steps
            _place_hold(args, keywords, train=is_sft, evaluate=self.packmill_evaluates)
            super().__init__(*positional, **keywords)
            if not self.model_accepts_loss_kwargs and self.compute_loss_func is None:
                raise UsageError(
                    "the model's forward takes no num_items_in_batch, so that the trainer would take means of means: use a "
                    "model whose loss takes it, or compute_loss_func="
                )
            attention = getattr(self.model.config, "_attn_implementation", None) or ""
            self.packmill_flat = "flash" in attention if flat is None else flat

        def get_train_dataloader(self) -> TrainerBatches:
            return TrainerBatches(self.packmill_loader, flat=self.packmill_flat)

        def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
            if self.packmill_evaluates and (eval_dataset is None or eval_dataset is self.eval_dataset):
                # Anew each time: it is read whole.
                return TrainerBatches(self.packmill_loader.eval(), flat=self.packmill_flat)
            return super().get_eval_dataloader(eval_dataset)

        def evaluate(self, eval_dataset: Any = None, *rest: Any, **keywords: Any) -> Any:
            if eval_dataset is None and self.eval_dataset is None:
                raise UsageError("there is nothing to evaluate on: set split: in the recipe, or give eval_dataset=")
            return super().evaluate(eval_dataset, *rest, **keywords)

        def evaluation_loop(
            self, dataloader: Any, description: str, *rest: Any, metric_key_prefix: str = "eval", **keywords: Any
        ) -> Any:
            if not isinstance(dataloader, TrainerBatches):
                return super().evaluation_loop(
                    dataloader, description, *rest, metric_key_prefix=metric_key_prefix, **keywords
                )
            return _evaluated(self, dataloader, metric_key_prefix)

        def _save_checkpoint(self, model: Any, trial: Any, *rest: Any, **keywords: Any) -> Any:
            # Not in on_save, which comes after older checkpoints are gone: a kill between would leave none with all states.
            folder = Path(self._get_output_dir(trial=trial)) / f"checkpoint-{self.state.global_step}"
            write_state(folder, self.packmill_loader, self.state.global_step)
            if torch.distributed.is_available() and torch.distributed.is_initialized():
                torch.distributed.barrier()
            return super()._save_checkpoint(model, trial, *rest, **keywords)

        def train(self, resume_from_checkpoint: Any = None, **keywords: Any) -> Any:
            if resume_from_checkpoint is True:
                from transformers.trainer_utils import get_last_checkpoint

                resume_from_checkpoint = get_last_checkpoint(self.args.output_dir)
                if resume_from_checkpoint is None:
                    raise CheckpointError(f"there is no checkpoint in {self.args.output_dir}")
            if not resume_from_checkpoint and self.packmill_loader.step != 0:
                raise UsageError(
                    f"training begins at step 0, and the loader stands at step {self.packmill_loader.step}: make a new loader, "
                    "or resume from a checkpoint"
                )
            if resume_from_checkpoint:
                self.packmill_loader.load_state_dict(read_states(resume_from_checkpoint))
                # The loader goes on where it stood; the trainer must not skip what comes.
                self.args.ignore_data_skip = True
            return super().train(resume_from_checkpoint=resume_from_checkpoint or None, **keywords)

    WithLoader.__name__ = WithLoader.__qualname__ = f"{trainer_class.__name__}WithLoader"
    return WithLoader


def _refuse_what_goes_wrong(loader: Loader, args: Any, keywords: dict[str, Any]) -> None:
    recipe = loader.recipe
    if getattr(args, "parallelism_config", None) is not None:
        raise UsageError(
            "a trainer with tensor-, context- or sequence-parallel ranks counts them all as data-parallel: leave "
            "parallelism_config out, or use a loop of your own with mesh="
        )
    if getattr(args, "n_gpu", 0) > 1:
        raise UsageError("one process with several GPUs (DataParallel) cuts batches in pieces: start a process for each GPU")
    refuse_other_steps(loader, "gradient_accumulation_steps", args.gradient_accumulation_steps)
    refuse_other_ranks(loader, args.process_index, args.world_size)
    if loader.world_size > 1 and not getattr(args, "average_tokens_across_devices", True):
        raise UsageError(
            "average_tokens_across_devices=False on several ranks weighs a rank's tokens by how few it has: leave it True"
        )
    masks = [recipe["mask"], *(source.get("mask") or {} for source in recipe["sources"])]
    if any(mask.get("weights") == "use" for mask in masks):
        raise UsageError("the trainer's loss ignores loss_weights without a word: set mask: {weights: refuse}, or use a loop of your own")
    if recipe["batch"]["labels"] != "aligned":
        raise UsageError("the trainer counts targets by `labels`: set batch: {labels: aligned}")
    if loader._tensors != "torch":
        raise UsageError("the trainer takes torch's tensors: make the loader with tensors='torch'")
    if getattr(args, "use_cache", False):
        raise UsageError(
            "use_cache=True switches off the models' own finding of segments, and every token attends to all before it: "
            "leave it False"
        )
    if getattr(args, "packing", False):
        raise UsageError("packing=True would pack the loader's packed rows again: leave it False")
    for name in ("train_dataset", "data_collator"):
        if keywords.get(name) is not None:
            raise UsageError(f"{name}= is not used where a loader brings the batches: leave it out")


def _has_eval_side(loader: Loader) -> bool:
    recipe = loader.recipe
    return any(part.get("split") is not None for part in [recipe, *recipe["sources"]])


def _place_hold(args: Any, keywords: dict[str, Any], *, train: bool, evaluate: bool) -> None:
    """What trainers look for when they are made: one row, which is never trained or evaluated on."""
    row = {"input_ids": [[0, 0]], "labels": [[-100, 0]]}
    if train or evaluate:
        import datasets

        placeholder = datasets.Dataset.from_dict(row)
        if evaluate:
            keywords["eval_dataset"] = placeholder
    if train:
        keywords["train_dataset"] = placeholder
        args.dataset_kwargs = {**(args.dataset_kwargs or {}), "skip_prepare_dataset": True}
        args.max_length = None


def _evaluated(trainer: Any, batches: TrainerBatches, prefix: str) -> Any:
    """The exact mean loss of a token over all ranks. Batches that only fill the last step count for nothing."""
    from transformers.trainer_utils import EvalLoopOutput

    from .torch import token_mean

    model = trainer._wrap_model(trainer.model, training=False, dataloader=batches)
    if model is trainer.model and not (trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled):
        model = trainer.accelerator.prepare_model(model, evaluation_mode=True)
    was_training = model.training
    model.eval()
    losses, rows = [], 0
    with torch.no_grad():
        for batch in batches:
            inputs = trainer._prepare_inputs(batch)
            with trainer.compute_loss_context_manager():
                loss = model(**inputs).loss
            losses.append((loss.detach(), int((batch["labels"][:, 1:] != -100).sum())))
            rows += batch["labels"].shape[0]
    model.train(was_training)
    batches.loader.close()
    metrics = {f"{prefix}_loss": token_mean(losses)}
    nothing: Any = None
    return EvalLoopOutput(predictions=nothing, label_ids=None, metrics=metrics, num_samples=rows)


def write_state(folder: str | os.PathLike[str], loader: Loader, step: int) -> Path:
    """Writes this rank's state after a step into a checkpoint's folder, whole or not at all."""
    name = f"packmill-rank-{loader.rank:05}-of-{loader.world_size:05}.json"
    path = Path(folder) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    # An earlier run may have saved this step on another number of ranks.
    for other in path.parent.glob("packmill-rank-*-of-*.json"):
        if not other.name.endswith(f"-of-{loader.world_size:05}.json"):
            other.unlink(missing_ok=True)
    text = json.dumps(loader.state_dict(step))
    draft = path.with_suffix(".tmp")
    with open(draft, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)
    return path


def read_states(folder: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """All ranks' states of a checkpoint's folder.

    Raises:
        CheckpointError: where a rank's is missing, as when training was killed while it saved.
    """
    paths = sorted(Path(folder).glob("packmill-rank-*-of-*.json"))
    states = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    sizes = {state.get("world_size") for state in states}
    if not states:
        raise CheckpointError(f"{os.fspath(folder)} has no state of a packmill loader: was it saved without one?")
    ranks = [state.get("rank") for state in states]
    if len(sizes) != 1 or ranks != list(range(len(states))) or len(states) != next(iter(sizes)):
        raise CheckpointError(
            f"{os.fspath(folder)} has the states of ranks {ranks} of {sorted(map(str, sizes))}, not of all: go on from an "
            "earlier checkpoint"
        )
    return states


__all__ = ["TrainerBatches", "read_states", "with_loader", "write_state"]

