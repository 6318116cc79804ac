"""Packed rows mean what their samples mean: masks, losses, hand-over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.attention import flex_attention
from torch.utils._pytree import tree_map

import children
import packmill
import packmill.torch as pt
from conftest import model
from packmill import Loader
from test_loader import provenance, same

Make = Callable[..., dict[str, Any]]


def segments(batch: dict[str, Any]) -> list[slice]:
    """Where each sample lies in the flattened batch."""
    cuts = batch["cu_seqlens"].tolist()
    return [slice(a, a + n) for a, n in zip(cuts, batch["segment_lengths"].tolist()) if n]


def test_packed_rows_give_the_losses_and_gradients_of_their_samples(recipe: Make, cache: Path) -> None:
    net = model(width=32)
    for seed in range(50):
        keys = recipe(seed=seed, pack={"sequence_length": 512})
        with Loader(keys, cache=cache) as loader:
            batch = next(iter(loader))
        count = batch["num_label_tokens"]
        inputs = {name: batch[name] for name in ("input_ids", "position_ids", "labels")}
        net.zero_grad()
        packed = net(**inputs, num_items_in_batch=count).loss
        packed.backward()
        together = [p.grad.clone() for p in net.parameters()]
        net.zero_grad()
        alone = 0.0
        for span in segments(batch):
            ids, labels = (batch[name].flatten()[span][None] for name in ("input_ids", "labels"))
            loss = net(input_ids=ids, labels=labels, num_items_in_batch=count).loss
            loss.backward()
            alone += float(loss.detach())
        assert abs(float(packed.detach()) - alone) <= 1e-5 * alone
        for one, own in zip(together, net.parameters()):
            assert (one - own.grad).norm() <= 1e-5 * own.grad.norm()


def test_a_changed_token_changes_no_other_segment(recipe: Make, cache: Path) -> None:
    net = model().eval()
    with Loader(recipe(pack={"sequence_length": 512}), cache=cache) as loader:
        batch = next(iter(loader))
    ids, positions = batch["input_ids"], batch["position_ids"]
    own = batch["segment_ids"]
    with torch.no_grad():
        before = net(input_ids=ids, position_ids=positions).logits
        for row in range(2):
            for segment in own[row].unique().tolist():
                for place in (own[row] == segment).nonzero().flatten()[[0, -1]].tolist():
                    changed = ids.clone()
                    changed[row, place] = (changed[row, place] + 1) % 256
                    after = net(input_ids=changed, position_ids=positions).logits
                    others = own[row] != segment
                    assert torch.equal(before[row, others], after[row, others])
                    assert torch.equal(before[1 - row], after[1 - row])


def test_masks_are_the_segments(recipe: Make, cache: Path) -> None:
    with Loader(recipe(pack={"sequence_length": 256}), cache=cache) as loader:
        batch = next(iter(loader))
    mask = pt.sdpa_mask(batch)
    own = batch["segment_ids"]
    naive = torch.tensor(
        [
            [[k <= q and bool(own[row, q] == own[row, k]) for k in range(256)] for q in range(256)]
            for row in range(2)
        ]
    )
    assert torch.equal(mask[:, 0], naive)
    added = pt.sdpa_mask(batch, dtype=torch.float32)
    assert torch.equal(added == 0, mask)
    query, key, value = torch.randn(3, 2, 2, 256, 16)
    blocks = pt.flex_mask(batch)
    ours = flex_attention.flex_attention(query, key, value, block_mask=blocks)
    theirs = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_the_loss_is_the_same_however_rows_are_cut_into_batches(recipe: Make, cache: Path) -> None:
    net = model()
    losses = []
    for rows in (1, 2, 4, 8):
        keys = recipe(pack={"sequence_length": 512}, batch={"rows": rows, "step_rows": 8})
        with Loader(keys, cache=cache) as loader:
            iterator = iter(loader)
            step = [next(iterator) for _ in range(loader.micro_batches)]
        count = sum(batch["num_label_tokens"] for batch in step)
        net.zero_grad()
        total = 0.0
        for batch in step:
            inputs = {name: batch[name] for name in ("input_ids", "position_ids", "labels")}
            loss = net(**inputs, num_items_in_batch=count).loss
            loss.backward()
            total += float(loss.detach())
        losses.append((total, [p.grad.clone() for p in net.parameters()]))
    for total, gradients in losses[1:]:
        assert abs(total - losses[0][0]) <= 1e-6 * total
        for one, other in zip(gradients, losses[0][1]):
            assert (one - other).norm() <= 1e-5 * other.norm()


def test_the_token_mean_is_exact(recipe: Make, cache: Path) -> None:
    net = model().eval()
    found = []
    total, tokens = 0.0, 0
    with torch.no_grad():
        for batch in Loader(recipe(split={"fraction": 0.2}), cache=cache).eval():
            inputs = {name: batch[name] for name in ("input_ids", "position_ids", "labels")}
            found.append((net(**inputs).loss, batch["num_label_tokens"]))
            for span in segments(batch):
                ids, labels = (batch[n].flatten()[span][None] for n in ("input_ids", "labels"))
                count = int((labels != -100).sum())
                if count:
                    total += float(net(input_ids=ids, labels=labels).loss) * count
                    tokens += count
    assert pt.token_mean(found) == pytest.approx(total / tokens, rel=1e-5)
    with pytest.raises(packmill.UsageError):
        pt.token_mean([(float("nan"), 0)])


def test_on_the_cpu_to_device_gives_the_same_batches(recipe: Make, cache: Path) -> None:
    plain = list(Loader(recipe(), cache=cache))
    moved = list(pt.to_device(Loader(recipe(), cache=cache), "cpu"))
    assert len(plain) == len(moved) and all(same(one, other) for one, other in zip(plain, moved))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_to_device_gives_the_same_batches(recipe: Make, cache: Path) -> None:
    plain = list(Loader(recipe(), cache=cache))
    moved = list(pt.to_device(Loader(recipe(), cache=cache)))
    assert moved[0]["input_ids"].is_cuda and not moved[0]["provenance"].is_cuda
    back = [tree_map(lambda v: v.cpu() if isinstance(v, torch.Tensor) else v, b) for b in moved]
    assert len(plain) == len(back) and all(same(one, other) for one, other in zip(plain, back))


def on_two_ranks(folder: Path, work: Callable[..., None], *arguments: Any) -> None:
    """Runs ``work(rank, …)`` in two processes of a gloo group."""
    codes = children.ended(children.start_ranks(2, in_group, work, arguments, log=folder / "log"))
    assert codes == [0, 0], "\n".join(path.read_text() for path in folder.glob("log-*"))


def in_group(work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    torch.distributed.init_process_group("gloo")
    try:
        work(torch.distributed.get_rank(), *arguments)
    finally:
        torch.distributed.destroy_process_group()


def gather(rank: int, keys: dict[str, Any], cache: str) -> None:
    loader = Loader(keys, steps=4, cache=cache)
    assert (loader.rank, loader.world_size) == (rank, 2)
    iterator = iter(loader)
    for _ in range(2):
        next(iterator)
    state = packmill.gather_state(loader)
    assert [part["rank"] for part in state["ranks"]] == [0, 1]
    again = Loader(keys, steps=4, cache=cache)
    again.load_state_dict(state)
    assert [provenance(b) for b in again] == [provenance(b) for b in iterator]
    # Alone, after ranks 0 and 1 of two.
    other = Loader(keys, rank=0, world_size=1, steps=3, cache=cache)
    other.load_state_dict(state)
    assert len(list(other)) == 1 * other.micro_batches
    peers = Loader(keys, rank=0, world_size=1, steps=2, cache=cache)
    list(peers)
    peers.check_peers(None)
    apart = Loader(keys, rank=rank, world_size=2, steps=2, cache=cache)
    list(apart)
    with pytest.raises(packmill.UsageError, match="data-parallel rank"):
        apart.check_peers(None)


def test_ranks_gather_their_states(recipe: Make, cache: Path, tmp_path: Path) -> None:
    keys = recipe(epochs=None, batch={"rows": 1, "step_rows": 2})
    on_two_ranks(tmp_path, gather, keys, str(cache))


def fail(rank: int, good: dict[str, Any], bad: dict[str, Any], cache: str) -> None:
    loader = Loader(bad if rank == 1 else good, rank=0, world_size=1, cache=cache)
    with pytest.raises(packmill.CorpusError) as raised:
        for _ in pt.guard(loader):
            pass
    assert raised.value.record == 40 and raised.value.shard == "bad.jsonl"
    assert ("rank 1 of the group: " in str(raised.value)) == (rank == 0)
    short = Loader(good, rank=0, world_size=1, steps=2 + rank, cache=cache)
    with pytest.raises(packmill.UsageError, match="have ended"):
        for _ in pt.guard(short):
            pass


def test_one_ranks_error_is_everyones(recipe: Make, corpus: Path, tmp_path: Path, cache: Path) -> None:
    text = (corpus / "chats-0.jsonl").read_text().splitlines()
    text[40] = '{"messages": 7}'
    (tmp_path / "bad.jsonl").write_text("\n".join(text))
    sources = [{"name": "bad", "paths": [str(tmp_path / "bad.jsonl")]}]
    bad = recipe(sources=sources, shuffle=False, lanes=1)
    on_two_ranks(tmp_path, fail, recipe(epochs=None), bad, str(cache))
