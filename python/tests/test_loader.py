"""Batches, epochs, memory and errors."""

from __future__ import annotations

import gc
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy
import pytest
import torch

import packmill
from packmill import Loader

Make = Callable[..., dict[str, Any]]


def provenance(batch: dict[str, Any]) -> list[tuple[int, ...]]:
    """Source, shard, block, record, example, epoch, first and last token of each segment."""
    return [tuple(row[:8]) for row in numpy.asarray(batch["provenance"]).tolist()]


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(
        numpy.array_equal(numpy.asarray(one[name]), numpy.asarray(other[name])) for name in one
    )


def test_a_batch_has_the_shapes_types_and_labels_of_its_table(recipe: Make, cache: Path) -> None:
    with Loader(recipe(), cache=cache) as loader:
        batch = next(iter(loader))
    for name, kind in {
        "input_ids": torch.int64,
        "labels": torch.int64,
        "position_ids": torch.int32,
        "segment_ids": torch.int32,
    }.items():
        assert batch[name].shape == (2, 1024) and batch[name].dtype == kind, name
    cuts = batch["cu_seqlens"]
    assert cuts[0] == 0 and cuts[-1] == 2048 and (cuts.diff() > 0).all()
    assert batch["max_seqlen"] == int(cuts.diff().max())
    assert batch["provenance"].shape[1] == len(packmill.PROVENANCE_FIELDS) == 9
    labels, ids = batch["labels"], batch["input_ids"]
    trained = labels != -100
    assert (labels[trained] == ids[trained]).all()
    assert batch["num_label_tokens"] == int(trained.sum())
    assert not trained[batch["position_ids"] == 0].any()
    assert not trained[batch["segment_ids"] == 0].any()
    assert batch["num_tokens"] == int((batch["segment_ids"] > 0).sum())
    # Each trained stretch ends with the end of the turn.
    ends = trained.flatten() & ~torch.cat([trained.flatten()[1:], torch.tensor([False])])
    assert set(ids.flatten()[ends].tolist()) == {258}


def test_numpy_and_jax_get_32_bits(recipe: Make, cache: Path) -> None:
    with Loader(recipe(), tensors="numpy", cache=cache) as loader:
        batch = next(iter(loader))
    assert batch["input_ids"].dtype == numpy.int32 and batch["input_ids"].flags.writeable
    batch["input_ids"][0, 0] = 7
    with Loader(recipe(), tensors="jax", cache=cache) as loader:
        batch = next(iter(loader))
    assert isinstance(batch["labels"], jax.Array) and batch["labels"].dtype == "int32"


def test_tensors_are_the_batchs_own_memory(recipe: Make, cache: Path) -> None:
    loader = Loader(recipe(), cache=cache)
    found = loader._live().next_batch()
    assert found is not None
    for name, tensor in found[0].items():
        if isinstance(tensor, packmill.Tensor):
            address = tensor.data_ptr()
            assert address % 64 == 0, name
            assert torch.from_dlpack(tensor).data_ptr() == address, name
            assert numpy.from_dlpack(tensor).ctypes.data == address, name
    loader.close()


def test_jax_arrays_are_the_batchs_own_memory(recipe: Make, cache: Path) -> None:
    loader = Loader(recipe(), tensors="jax", cache=cache)
    found = loader._live().next_batch()
    assert found is not None
    for name, tensor in found[0].items():
        # JAX has no 64 bits by default.
        if isinstance(tensor, packmill.Tensor) and name != "provenance":
            assert jax.dlpack.from_dlpack(tensor).unsafe_buffer_pointer() == tensor.data_ptr(), name
    loader.close()


def test_batches_that_are_held_stay_as_they_are(recipe: Make, cache: Path) -> None:
    loader = Loader(recipe(epochs=None), cache=cache)
    held, copies = [], []
    for batch in loader:
        held.append(batch)
        copies.append({k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in batch.items()})
        if len(held) == 1000:
            break
    loader.close()
    del loader
    gc.collect()
    assert all(same(one, other) for one, other in zip(held, copies))
    assert len({tensor["input_ids"].data_ptr() for tensor in held}) == 1000


def test_iterating_again_goes_on(recipe: Make, cache: Path) -> None:
    whole = [provenance(batch) for batch in Loader(recipe(), cache=cache)]
    loader = Loader(recipe(), cache=cache)
    parts = []
    for batch in loader:
        parts.append(provenance(batch))
        if len(parts) == 3:
            break
    parts += [provenance(batch) for batch in loader]
    assert parts == whole
    assert list(loader) == []


def test_an_epoch_of_a_global_plan_is_a_loop(recipe: Make, cache: Path) -> None:
    keys = recipe(plan="global", epochs=3, batch={"rows": 2, "step_rows": 4})
    with Loader(keys, cache=cache) as loader:
        for epoch in range(3):
            length = len(loader)
            batches = list(loader)
            assert len(batches) == length
            records = [tuple(row[:4]) for batch in batches for row in provenance(batch)]
            assert len(records) == len(set(records)) == 300
            assert {row[5] for batch in batches for row in provenance(batch)} == {epoch}
        assert list(loader) == []
    with Loader(recipe(), cache=cache) as loader, pytest.raises(TypeError, match="plan: global"):
        len(loader)


def test_an_endless_global_plan_never_ends_a_loop(recipe: Make, cache: Path) -> None:
    with Loader(recipe(plan="global", epochs=None), cache=cache) as loader:
        epoch = len(loader)
        seen = []
        for batch in loader:
            seen += provenance(batch)
            if seen[-1][5] == 2:
                break
    assert epoch > 0 and {row[5] for row in seen} == {0, 1, 2}


def test_a_loader_is_true(recipe: Make, cache: Path) -> None:
    """As in ``loader or Loader(…)``, and without being opened."""
    for plan in ("lanes", "global"):
        before = threads()
        assert Loader(recipe(plan=plan), cache=cache)
        assert threads() <= before


def test_a_closed_loader_says_so(recipe: Make, cache: Path) -> None:
    loader = Loader(recipe(), cache=cache)
    next(iter(loader))
    state = loader.state_dict()
    loader.close()
    for use in (loader.state_dict, loader.progress, loader.stats, loader.open):
        with pytest.raises(packmill.UsageError, match="closed"):
            use()
    assert list(loader) == []
    loader.load_state_dict(state)
    assert len(list(loader)) > 0


def test_overrides_take_the_place_of_a_files_keys(recipe: Make, tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(recipe()))
    loader = Loader(path, pack={"sequence_length": 512}, seed=3, cache=cache)
    assert loader.recipe["pack"]["sequence_length"] == 512 and loader.recipe["seed"] == 3
    assert loader.recipe["pack"]["strategy"] == "knapsack"
    assert next(iter(loader))["input_ids"].shape == (2, 512)
    loader.close()


def test_dataclasses_have_the_recipes_keys(recipe: Make, cache: Path) -> None:
    own = recipe()
    typed = packmill.Recipe(
        tokenizer=own["tokenizer"],
        sources=[packmill.Source(**own["sources"][0])],
        pack=packmill.Pack(sequence_length=1024),
        batch=packmill.BatchShape(rows=2),
        lanes=4,
        workers=2,
        epochs=1,
    )
    assert Loader(typed).recipe == Loader(own).recipe


def test_all_faults_of_a_recipe_come_at_once(recipe: Make) -> None:
    with pytest.raises(packmill.RecipeError) as refused:
        Loader(recipe(lanes=0, packk=1, pack={"sequence_lenght": 5}))
    text = str(refused.value)
    assert isinstance(refused.value, ValueError) and refused.value.kind == "Recipe"
    assert all(part in text for part in ("lanes", "packk", "sequence_length"))


def test_a_bad_record_is_named(recipe: Make, corpus: Path, tmp_path: Path, cache: Path) -> None:
    text = (corpus / "chats-0.jsonl").read_text().splitlines()
    text[40] = '{"messages": 7}'
    (tmp_path / "bad.jsonl").write_text("\n".join(text))
    sources = [{"name": "bad", "paths": [str(tmp_path / "bad.jsonl")]}]
    with pytest.raises(packmill.CorpusError) as raised:
        list(Loader(recipe(sources=sources), cache=cache))
    assert (raised.value.shard, raised.value.record) == ("bad.jsonl", 40)
    again = pickle.loads(pickle.dumps(raised.value))
    assert (str(again), again.record, type(again)) == (str(raised.value), 40, packmill.CorpusError)


def test_nothing_starts_before_it_is_asked_for(recipe: Make) -> None:
    before = threads()
    loader = Loader(recipe())
    pickle.loads(pickle.dumps(loader))
    assert threads() <= before
    loader.close()


def threads() -> set[str]:
    """packmill's own in this process, by their ids."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        try:
            name = (task / "comm").read_text()
        except (FileNotFoundError, ProcessLookupError):
            # It has ended meanwhile.
            continue
        if name.startswith("packmill"):
            found.add(task.name)
    return found


def test_starting_and_stopping_leaves_nothing(recipe: Make, cache: Path) -> None:
    plans = [recipe(), recipe(plan="global")]

    def cycle(number: int) -> None:
        with Loader(plans[number % 2], cache=cache) as loader:
            next(iter(loader))

    def flat() -> tuple[int, int, int]:
        gc.collect()
        return len(threads()), len(os.listdir("/proc/self/fd")), resident()

    for number in range(50):
        cycle(number)
    before = flat()
    for number in range(500):
        cycle(number)
    after = flat()
    assert after[:2] == before[:2] and after[2] < before[2] + 16, (before, after)


def resident() -> int:
    """MiB in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") >> 20


def test_samples_are_what_the_records_become(recipe: Make, cache: Path) -> None:
    samples = list(packmill.samples(recipe(), cache=cache))
    assert len(samples) == 300 and [s["record"] for s in samples[:150]] == list(range(150))
    by_record = {(0 if s["shard"] == "chats-0.jsonl" else 1, s["record"]): s for s in samples}
    for batch in Loader(recipe(), cache=cache):
        cuts = batch["cu_seqlens"].tolist()
        segments = [range(a, b) for a, b, n in zip(cuts, cuts[1:], batch["segment_lengths"].tolist()) if n]
        for tokens, at in zip(segments, provenance(batch)):
            sample = by_record[at[1], at[2]]
            span = slice(tokens[0], tokens[-1] + 1)
            assert batch["input_ids"].flatten()[span].tolist() == sample["input_ids"]
            labels = [-100, *sample["labels"][1:]]
            assert batch["labels"].flatten()[span].tolist() == labels


def test_stats_and_progress_count(recipe: Make, cache: Path) -> None:
    with Loader(recipe(), cache=cache) as loader:
        tokens = sum(batch["num_tokens"] for batch in loader)
        progress, stats = loader.progress(), loader.stats()
    assert progress["tokens"] == tokens == stats["batch"]["items"]
    assert progress["ledger"]["chats"]["records"]["delivered"] == 300
    assert list(stats) == ["read", "render", "tokenize", "mask", "pack", "batch", "channel"]


def test_the_eval_side_is_read_anew_each_time(recipe: Make, cache: Path) -> None:
    loader = Loader(recipe(split={"fraction": 0.2}), cache=cache)
    held_out = [provenance(batch) for batch in loader.eval()]
    assert held_out == [provenance(batch) for batch in loader.eval()]
    trained = {row for batch in loader for row in provenance(batch)}
    assert held_out and not trained & {row for batch in held_out for row in batch}
