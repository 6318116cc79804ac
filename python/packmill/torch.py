"""Batches on a device, masks for attention, and losses that mean what they say, in PyTorch."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import torch

from .errors import Error, UsageError, make
from .tensors import Batch

#: What a batch holds in many small pieces or for people alone: it stays on the CPU.
ON_CPU = ("provenance",)


def to_device(
    loader: Iterable[Batch], device: str | torch.device = "cuda", *, depth: int = 2
) -> Iterator[Batch]:
    """The same batches, their tensors on ``device``, copied while the batch before is worked on.

    On a GPU, each copy goes from pinned memory over a stream of its own; the memory is used again only after the event that
    ends its copy, and the trainer's stream waits for the event before it uses the batch. Fetches ``depth`` batches ahead
    of the trainer: save ``loader.state_dict(step)`` with the trainer's step, as the newest state is ahead.

    Elsewhere tensors are moved one batch at a time (the CPU's own are the same).
    """
    where = torch.device(device)
    if where.type != "cuda":
        for batch in loader:
            yield {
                name: value.to(where)
                if isinstance(value, torch.Tensor) and name not in ON_CPU
                else value
                for name, value in batch.items()
            }
        return
    side = torch.cuda.Stream(where)
    slabs: deque[_Slab] = deque()
    waiting: deque[tuple[Batch, torch.cuda.Event]] = deque()
    iterator = iter(loader)
    failed: BaseException | None = None
    while failed is None:
        try:
            batch = next(iterator)
        except StopIteration:
            break
        except BaseException as error:
            # Behind the batches that were fetched before it.
            failed = error
            break
        slab = slabs.popleft() if len(slabs) > depth else _Slab()
        waiting.append(slab.send(batch, where, side))
        slabs.append(slab)
        if len(waiting) > depth:
            yield _arrived(*waiting.popleft(), where)
    while waiting:
        yield _arrived(*waiting.popleft(), where)
    if failed is not None:
        raise failed


class _Slab:
    """Pinned memory for one batch, used again when its last copy is done."""

    def __init__(self) -> None:
        self._pinned: dict[str, torch.Tensor] = {}
        self._copied: torch.cuda.Event | None = None

    def send(
        self, batch: Batch, where: torch.device, side: torch.cuda.Stream
    ) -> tuple[Batch, torch.cuda.Event]:
        if self._copied is not None:
            self._copied.synchronize()
        out: Batch = {}
        with torch.cuda.stream(side):
            for name, value in batch.items():
                if not isinstance(value, torch.Tensor) or name in ON_CPU:
                    out[name] = value
                    continue
                own = self._pinned.get(name)
                if own is None or own.dtype != value.dtype or own.numel() < value.numel():
                    own = torch.empty(value.numel(), dtype=value.dtype, pin_memory=True)
                    self._pinned[name] = own
                pinned = own[: value.numel()].view(value.shape)
                pinned.copy_(value)
                out[name] = pinned.to(where, non_blocking=True)
            self._copied = torch.cuda.Event()
            self._copied.record(side)
        return out, self._copied


def _arrived(batch: Batch, copied: torch.cuda.Event, where: torch.device) -> Batch:
    own = torch.cuda.current_stream(where)
    own.wait_event(copied)
    for value in batch.values():
        if isinstance(value, torch.Tensor) and value.is_cuda:
            # Its memory was taken on the side stream and is used on this one.
            value.record_stream(own)
    return batch


def guard(loader: Iterable[Batch], group: Any = None) -> Iterator[Batch]:
    """The same batches, and one rank's error, or end, on all: by one small all-reduce a batch.

    Without it the rank that has an error leaves, and the others wait for it in their next collective until that times
    out. Opt in where the corpus may have bad records.

    Raises:
        Error: the rank's own error on it, and its like, naming the rank, on the others.
        UsageError: where some ranks' streams end before others'.
    """
    import torch.distributed as dist

    device = _device_of(group)
    iterator: Iterator[Batch] | None = None
    going, ended, failed = 0, 1, 2
    while True:
        batch: Batch | None = None
        error: Exception | None = None
        try:
            if iterator is None:
                iterator = iter(loader)
            batch = next(iterator, None)
        except Exception as raised:
            error = raised
        state = failed if error is not None else ended if batch is None else going
        worst = torch.tensor([state, -state], dtype=torch.int32, device=device)
        dist.all_reduce(worst, op=dist.ReduceOp.MAX, group=group)
        most, least = int(worst[0]), -int(worst[1])
        if most == failed:
            _raise_alike(error, group)
        if most == ended:
            if least != ended:
                raise UsageError("some ranks' streams have ended, and others' have not: give all ranks the same recipe and steps")
            return
        if batch is not None:
            yield batch


def _device_of(group: Any) -> str:
    """Where a group's collectives take tensors."""
    import torch.distributed as dist

    backend = str(dist.get_backend(group))
    return "cuda" if "nccl" in backend and "gloo" not in backend else "cpu"


def _raise_alike(error: Exception | None, group: Any) -> None:
    """Raises the first failed rank's error on every rank."""
    import torch.distributed as dist

    own = None
    if error is not None:
        known = isinstance(error, Error)
        own = {
            "message": str(error) if known else f"{type(error).__name__}: {error}",
            "kind": getattr(error, "kind", "Internal") if known else "Internal",
            "stage": getattr(error, "stage", ""),
            "shard": getattr(error, "shard", None),
            "record": getattr(error, "record", None),
        }
    errors: list[Any] = [None] * dist.get_world_size(group)
    dist.all_gather_object(errors, own, group=group)
    if error is not None:
        raise error
    rank, first = next((rank, found) for rank, found in enumerate(errors) if found is not None)
    first["message"] = f"rank {rank} of the group: {first['message']}"
    raise make(**first)


def sdpa_mask(batch: Batch, *, dtype: torch.dtype | None = None) -> torch.Tensor:
    """Who may attend to whom, ``[rows, 1, S, S]``: causal within a segment, padding among itself.

    A boolean mask (true: attends), or, with ``dtype``, one to be added to scores: 0 and the least number of the type.
    Takes S² a row: for long rows use :func:`flex_mask` or a kernel that takes ``cu_seqlens``.
    """
    segments = batch["segment_ids"]
    same = segments[:, :, None] == segments[:, None, :]
    length = segments.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=segments.device).tril()
    mask: torch.Tensor = (same & causal)[:, None]
    if dtype is None:
        return mask
    added = torch.zeros(mask.shape, dtype=dtype, device=segments.device)
    return added.masked_fill(~mask, torch.finfo(dtype).min)


def flex_mask(batch: Batch, **options: Any) -> Any:
    """The same as a FlexAttention ``BlockMask``. ``options`` go to ``create_block_mask``."""
    from torch.nn.attention.flex_attention import create_block_mask

    segments = batch["segment_ids"]
    rows, length = segments.shape

    def attends(row: Any, head: Any, query: Any, key: Any) -> Any:
        return (segments[row, query] == segments[row, key]) & (query >= key)

    options.setdefault("device", segments.device)
    return create_block_mask(attends, rows, None, length, length, **options)


def token_mean(
    losses: Iterable[tuple[torch.Tensor | float, int]], group: Any = None
) -> float:
    """The exact mean loss of a token, over batches and ranks.

    Args:
        losses: of each batch, its mean loss and its ``num_label_tokens``. A batch without targets may have any loss.
        group: the ranks to sum over; none: all of ``torch.distributed``, or this process.
    """
    import torch.distributed as dist

    total, tokens = 0.0, 0
    for loss, count in losses:
        if count:
            total += float(loss) * count
            tokens += count
    if dist.is_available() and dist.is_initialized():
        device = _device_of(group)
        sums = torch.tensor([total, float(tokens)], dtype=torch.float64, device=device)
        dist.all_reduce(sums, group=group)
        total, tokens = float(sums[0]), int(sums[1])
    if tokens == 0:
        raise UsageError("no batch has a target: a mean of nothing")
    return total / tokens
