"""Trains with every consumer on each rank of a torchrun, and writes down what each of them computed on.

    torchrun --nproc-per-node=2 on_ranks.py '{"keys": …, "cache": …, "folder": …}'
"""

from __future__ import annotations

import datetime
import hashlib
import itertools
import json
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import accelerate
import jax
import jax.numpy
import lightning
import numpy
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
import transformers
import trl
from lightning.pytorch.callbacks import ModelCheckpoint
from torchdata.stateful_dataloader import StatefulDataLoader

import packmill.hf
import packmill.lightning
import packmill.torch
from conftest import model
from packmill import GatheredState, Loader

#: Rows of all ranks in the steps whose losses are compared.
STEP_ROWS = 8


def digest(ids: Any) -> str:
    """Which batch it is, by its tokens."""
    return hashlib.sha256(numpy.asarray(ids).astype(numpy.int64).tobytes()).hexdigest()


class Seen:
    """What a consumer computed on, and the parts that it does it in."""

    def __init__(self, keys: dict[str, Any], cache: str, folder: Path, ends: list[int]) -> None:
        self.keys, self.cache, self.folder = keys, cache, folder
        #: The steps that it is stopped after, in the middle of an epoch, and the last one.
        self.ends = ends
        self.digests: list[str] = []
        self.provenance: list[list[list[int]]] = []

    def loader(self, **options: Any) -> Loader:
        return Loader(self.keys, cache=self.cache, **options)

    def ids(self, ids: Any) -> None:
        self.digests.append(digest(ids))

    def batch(self, batch: dict[str, Any]) -> None:
        self.ids(batch["input_ids"])
        self.provenance.append(numpy.asarray(batch["provenance"]).tolist())

    def plain(self) -> dict[str, Any]:
        return {"digests": self.digests, "provenance": self.provenance}


def until(batches: Iterable[dict[str, Any]], loader: Loader, end: int) -> Iterator[dict[str, Any]]:
    """An epoch a loop, two at most, up to the end of a step."""
    for _ in range(2):
        for batch in batches:
            yield batch
            if loader.step == end:
                return


def inputs_of(batch: dict[str, Any]) -> dict[str, Any]:
    return {name: batch[name] for name in ("input_ids", "position_ids", "labels")}


def tiny() -> Any:
    return model(layers=1, width=16)


def plain_torch(seen: Seen) -> None:
    state = None
    net = tiny()
    for end in seen.ends:
        loader = seen.loader()
        if state is not None:
            loader.load_state_dict(state)
        for batch in until(loader, loader, end):
            seen.batch(batch)
            net(**inputs_of(batch)).loss.backward()
        state = packmill.gather_state(loader)
        loader.close()


def trainer(seen: Seen, trainer_class: Any, arguments: Any, **options: Any) -> None:
    class Recorded(trainer_class):  # type: ignore[misc]
        def compute_loss(self, net: Any, inputs: Any, *rest: Any, **keywords: Any) -> Any:
            seen.ids(inputs["input_ids"])
            return super().compute_loss(net, inputs, *rest, **keywords)

    class Stop(transformers.TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == end < seen.ends[-1]:
                control.should_save = control.should_training_stop = True

    for end in seen.ends:
        loader = seen.loader()
        packmill.hf.with_loader(Recorded)(
            model=tiny(),
            args=arguments(
                output_dir=str(seen.folder),
                num_train_epochs=2,
                gradient_accumulation_steps=loader.micro_batches,
                save_strategy="no",
                report_to=[],
                use_cpu=True,
                disable_tqdm=True,
            ),
            loader=loader,
            callbacks=[Stop()],
            **options,
        ).train(resume_from_checkpoint=end > seen.ends[0])
        loader.close()


def hugging_face(seen: Seen) -> None:
    trainer(seen, transformers.Trainer, transformers.TrainingArguments)


def trl_sft(seen: Seen) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(seen.keys["tokenizer"])

    def arguments(**options: Any) -> Any:
        return trl.SFTConfig(bf16=False, gradient_checkpointing=False, **options)

    trainer(seen, trl.SFTTrainer, arguments, processing_class=tokenizer)


def with_accelerate(seen: Seen) -> None:
    for end in seen.ends:
        loader = seen.loader()
        accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=loader.micro_batches)
        net = tiny()
        net, optimizer, prepared = accelerator.prepare(net, torch.optim.AdamW(net.parameters()), loader)
        assert prepared is loader
        accelerator.register_for_checkpointing(GatheredState(loader))
        if end > seen.ends[0]:
            accelerator.load_state(str(seen.folder))
        for batch in until(prepared, loader, end):
            seen.batch(batch)
            with accelerator.accumulate(net):
                accelerator.backward(net(**inputs_of(batch)).loss)
                optimizer.step()
                optimizer.zero_grad()
        accelerator.save_state(str(seen.folder))
        loader.close()


class Dataset(torch.utils.data.IterableDataset[Any]):
    """As torchdata asks for one that has a state."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader
        self.state = GatheredState(loader)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.loader)

    def state_dict(self) -> dict[str, str]:
        return self.state.state_dict()

    def load_state_dict(self, state: dict[str, str]) -> None:
        self.state.load_state_dict(state)


def torchdata(seen: Seen) -> None:
    state = None
    for end in seen.ends:
        loader = seen.loader()
        batches: Any = StatefulDataLoader(Dataset(loader), batch_size=None, num_workers=0)
        if state is not None:
            batches.load_state_dict(state)
        for batch in until(batches, loader, end):
            seen.batch(batch)
        state = batches.state_dict()
        loader.close()


def ahead(batches: Iterable[dict[str, Any]], depth: int) -> Iterator[dict[str, Any]]:
    """The same batches, fetched before they are asked for."""
    waiting: deque[dict[str, Any]] = deque()
    for batch in batches:
        waiting.append(batch)
        if len(waiting) > depth:
            yield waiting.popleft()
    yield from waiting


def torchtitan(seen: Seen) -> None:
    """A Stateful beside the model's, saved by the trainer's step, while batches are fetched ahead of it."""
    step = 0
    for end in seen.ends:
        loader = seen.loader()
        state = GatheredState(loader)
        net = tiny()
        parts = {"data": state, "model": net.state_dict()}
        if step:
            dcp.load(parts, checkpoint_id=str(seen.folder / f"step-{step}"))
        # An epoch a loop.
        batches = (batch for _ in range(2) for batch in ahead(loader, 3))
        for micro, batch in enumerate(itertools.islice(batches, (end - step) * loader.micro_batches), 1):
            seen.batch(batch)
            net(**inputs_of(batch)).loss.backward()
            step += micro % loader.micro_batches == 0
        state.step = step
        dcp.save(parts, checkpoint_id=str(seen.folder / f"step-{step}"))
        loader.close()


@jax.jit
def total(ids: jax.Array, labels: jax.Array) -> jax.Array:
    return jax.numpy.where(labels != -100, ids, 0).sum()


def with_jax(seen: Seen) -> None:
    path = seen.folder / f"rank-{dist.get_rank()}.json"
    for end in seen.ends:
        loader = seen.loader(tensors="jax")
        if end > seen.ends[0]:
            loader.load_state_dict(json.loads(path.read_text()))
        for batch in until(loader, loader, end):
            seen.batch(batch)
            assert int(total(batch["input_ids"], batch["labels"])) > 0 or not batch["num_label_tokens"]
        path.write_text(json.dumps(packmill.gather_state(loader)))
        loader.close()


def with_lightning(seen: Seen) -> None:
    class Tuned(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = tiny()

        def training_step(self, batch: dict[str, Any], index: int) -> Any:
            seen.batch(batch)
            return self.net(**inputs_of(batch)).loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters())

    saved = None
    for end in seen.ends:
        loader = seen.loader()
        # Not after fit, where Lightning takes an epoch that max_steps cut off for a whole one.
        checkpoint = ModelCheckpoint(seen.folder, filename=f"step-{end}", every_n_train_steps=end)
        fitted = lightning.Trainer(
            # The last part ends by itself.
            max_steps=end if end < seen.ends[-1] else -1,
            max_epochs=2,
            accumulate_grad_batches=loader.micro_batches,
            callbacks=[packmill.lightning.SaveLoader(loader), checkpoint],
            default_root_dir=seen.folder,
            use_distributed_sampler=False,
            accelerator="cpu",
            devices=dist.get_world_size(),
            strategy="ddp",
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        fitted.fit(Tuned(), packmill.lightning.batches(loader), ckpt_path=saved)
        saved = seen.folder / f"step-{end}.ckpt"
        loader.close()


#: Lightning comes last, as it leaves its marks on a process.
CONSUMERS: dict[str, Callable[[Seen], None]] = {
    "plain torch": plain_torch,
    "Trainer": hugging_face,
    "SFTTrainer": trl_sft,
    "Accelerate": with_accelerate,
    "torchdata": torchdata,
    "torchtitan": torchtitan,
    "JAX": with_jax,
    "Lightning": with_lightning,
}


def undisturbed(seen: Seen) -> dict[str, Any]:
    """What the rank's loader delivers, its steps an epoch among it."""
    with seen.loader() as loader:
        lengths = []
        for _ in range(2):
            begun = loader.step
            for batch in loader:
                seen.batch(batch)
            lengths.append(loader.step - begun)
    return {**seen.plain(), "lengths": lengths}


def losses(keys: dict[str, Any], cache: str, folder: Path) -> dict[str, list[list[float]]]:
    """Loss and norm of the gradients of the same three steps, by how their rows are cut into micro-batches."""
    world = dist.get_world_size()
    found = {}
    for rows in (1, 2, 4, 8):
        if rows * world > STEP_ROWS:
            continue
        own = {**keys, "plan": "lanes", "epochs": None, "batch": {"rows": rows, "step_rows": STEP_ROWS}}
        cut = f"{rows} x {STEP_ROWS // rows // world} x {world}"
        found[f"plain {cut}"] = plain_losses(own, cache)
        found[f"Trainer {cut}"] = trainer_losses(own, cache, folder)
    return found


def plain_losses(keys: dict[str, Any], cache: str) -> list[list[float]]:
    net = model(layers=1, width=32)
    found = []
    with Loader(keys, steps=3, cache=cache) as loader:
        batches = iter(loader)
        for _ in range(3):
            step = [next(batches) for _ in range(loader.micro_batches)]
            targets = torch.tensor(sum(batch["num_label_tokens"] for batch in step))
            dist.all_reduce(targets)
            net.zero_grad()
            whole = torch.zeros(())
            for batch in step:
                logits = net(input_ids=batch["input_ids"], position_ids=batch["position_ids"]).logits
                loss = torch.nn.functional.cross_entropy(
                    logits[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten(), reduction="sum"
                )
                (loss / targets).backward()
                whole += loss.detach() / targets
            dist.all_reduce(whole)
            gradients = torch.cat([parameter.grad.flatten() for parameter in net.parameters()])
            dist.all_reduce(gradients)
            found.append([float(whole), float(gradients.norm())])
    return found


def trainer_losses(keys: dict[str, Any], cache: str, folder: Path) -> list[list[float]]:
    with Loader(keys, cache=cache) as loader:
        args = transformers.TrainingArguments(
            output_dir=str(folder),
            max_steps=3,
            # Adam would make much of little.
            learning_rate=0.0,
            logging_steps=1,
            gradient_accumulation_steps=loader.micro_batches,
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
        )
        trained = packmill.hf.with_loader(transformers.Trainer)(
            model=model(layers=1, width=32), args=args, loader=loader
        )
        trained.train()
    return [[entry["loss"], entry["grad_norm"]] for entry in trained.state.log_history if "grad_norm" in entry]


def main() -> None:
    given = json.loads(sys.argv[1])
    keys, cache, folder = given["keys"], given["cache"], Path(given["folder"])
    dist.init_process_group("gloo", timeout=datetime.timedelta(seconds=60))
    rank = dist.get_rank()
    keys["batch"] = {"rows": 2, "step_rows": 4 * dist.get_world_size()}
    whole = undisturbed(Seen(keys, cache, folder, []))
    first, second = whole["lengths"]
    ends = [first // 2, first + second // 2, first + second]
    found: dict[str, Any] = {"undisturbed": whole, "losses": losses(keys, cache, folder / "losses")}
    for name, consume in CONSUMERS.items():
        own = folder / name
        own.mkdir(exist_ok=True)
        seen = Seen(keys, cache, own, ends)
        consume(seen)
        found[name] = seen.plain()
        (folder / f"rank-{rank}.json").write_text(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
