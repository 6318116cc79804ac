"""Data sets that Python has already: the same samples as from files, without a copy where there is a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pytest

import children
import packmill
from conftest import records, write_chats
from packmill import Loader, RecipeError, UsageError
from test_loader import provenance, same

Make = Callable[..., dict[str, Any]]
Record = dict[str, Any]

RECORDS = 40


@pytest.fixture(scope="module")
def chats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_chats(tmp_path_factory.mktemp("chats") / "chats.jsonl", RECORDS)


@pytest.fixture(scope="module")
def dataset(chats: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One that lies in a file of its own."""
    datasets.disable_progress_bars()
    return datasets.load_dataset(
        "json", data_files=str(chats), split="train", cache_dir=str(tmp_path_factory.mktemp("own"))
    )


@pytest.fixture
def keys(recipe: Make) -> dict[str, Any]:
    """A recipe without sources."""
    keys = recipe(pack={"sequence_length": 512})
    del keys["sources"]
    return keys


def assert_delivers(loader: Loader, rows: list[Record], keys: dict[str, Any], folder: Path) -> None:
    """The same batches as from a file of JSON lines with these records."""
    path = folder / "lines.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    sources = [{"name": "dataset", "paths": [str(path)]}]
    lines = list(Loader({**keys, "sources": sources}))
    batches = list(loader)
    assert all(same(one, other) for one, other in zip(batches, lines, strict=True))
    assert sum(len(provenance(batch)) for batch in batches) == len(rows) > 0


def paths(loader: Loader) -> list[str]:
    return list(loader.recipe["sources"][0]["paths"])


def test_a_data_sets_own_file_is_read(dataset: Any, keys: dict[str, Any], chats: Path, tmp_path: Path) -> None:
    loader = Loader.from_dataset(dataset, keys, cache=tmp_path / "cache")
    assert paths(loader) == [file["filename"] for file in dataset.cache_files]
    assert_delivers(loader, records(chats), keys, tmp_path)
    assert not (tmp_path / "cache" / "datasets").exists()


def has_two_turns(row: Record) -> bool:
    return len(row["messages"]) > 2


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (lambda own: own.filter(has_two_turns), lambda rows: [row for row in rows if has_two_turns(row)]),
        (lambda own: own.select(range(3, 30)), lambda rows: rows[3:30]),
        (lambda own: own.select([7, 3, 20]), lambda rows: [rows[7], rows[3], rows[20]]),
        (lambda own: own.select(range(RECORDS)[::-1]), lambda rows: rows[::-1]),
        (
            lambda own: own.map(lambda row: {"length": len(str(row))}).sort("length", reverse=True),
            lambda rows: sorted(rows, key=lambda row: len(str(row)), reverse=True),
        ),
        (lambda own: own.add_column("number", list(range(RECORDS))), lambda rows: rows),
        (lambda own: own.shard(4, 1), lambda rows: rows[10:20]),
        (lambda own: datasets.concatenate_datasets([own, own.select([0])]), lambda rows: [*rows, rows[0]]),
        (lambda own: datasets.Dataset.from_list(own.to_list()), lambda rows: rows),
        (lambda own: own.with_format("torch"), lambda rows: rows),
        (lambda own: own.add_column("text", ["no"] * RECORDS).with_format(columns=["messages"]), lambda rows: rows),
        (lambda own: own.data.table, lambda rows: rows),
        (lambda own: own.data.table.slice(5, 10), lambda rows: rows[5:15]),
        (lambda own: own.data.table.combine_chunks().to_batches()[0], lambda rows: rows),
    ],
    ids="filter select choose reverse sort add shard concatenate in_memory format columns table slice batch".split(),
)
def test_what_was_made_of_it_is_read_as_it_is(
    dataset: Any, keys: dict[str, Any], chats: Path, tmp_path: Path, changed: Any, expected: Any
) -> None:
    loader = Loader.from_dataset(changed(dataset), keys, cache=tmp_path / "cache")
    assert_delivers(loader, expected(records(chats)), keys, tmp_path)


def test_renamed_columns_are_read_by_their_names(
    dataset: Any, keys: dict[str, Any], chats: Path, tmp_path: Path
) -> None:
    renamed = dataset.rename_column("messages", "talk")
    source = {"name": "talks", "fields": {"messages": "talk"}}
    loader = Loader.from_dataset(renamed, keys, source=source, cache=tmp_path / "cache")
    assert loader.recipe["sources"][0]["name"] == "talks"
    assert_delivers(loader, records(chats), keys, tmp_path)


def test_keys_come_as_keywords_too(dataset: Any, keys: dict[str, Any], tmp_path: Path) -> None:
    whole = list(Loader.from_dataset(dataset, keys, cache=tmp_path))
    own = list(Loader.from_dataset(dataset, cache=tmp_path, tensors="torch", **keys))
    assert all(same(one, other) for one, other in zip(own, whole, strict=True))
    pack = packmill.Pack(sequence_length=256)
    over = Loader.from_dataset(dataset, keys, cache=tmp_path, pack=pack, rank=1, world_size=2)
    assert over.recipe["pack"]["sequence_length"] == 256 and over.rank == 1


def test_a_state_goes_on_with_the_same_records(dataset: Any, keys: dict[str, Any], tmp_path: Path) -> None:
    first = Loader.from_dataset(dataset.data.table, keys, cache=tmp_path)
    iterator = iter(first)
    next(iterator)
    state = first.state_dict()
    again = Loader.from_dataset(dataset.data.table.slice(0), keys, cache=tmp_path)
    again.load_state_dict(state)
    assert [provenance(batch) for batch in again] == [provenance(batch) for batch in iterator]
    other = Loader.from_dataset(dataset.data.table.slice(1), keys, cache=tmp_path)
    other.load_state_dict(state)
    with pytest.raises(packmill.CheckpointError):
        other.open()


def deliver(lines: list[Record], keys: dict[str, Any], cache: str) -> None:
    loader = Loader.from_dataset(pa.Table.from_pylist(lines), keys, cache=cache)
    print(json.dumps([provenance(batch) for batch in loader]))


def test_two_processes_write_one_file(keys: dict[str, Any], chats: Path, tmp_path: Path) -> None:
    lines, cache = records(chats), tmp_path / "cache"
    logs = [tmp_path / f"{number}.log" for number in range(2)]
    running = [children.start(deliver, lines, keys, str(cache), log=log) for log in logs]
    assert children.ended(running) == [0, 0], [log.read_text() for log in logs]
    one, other = (log.read_text().splitlines()[-1] for log in logs)
    assert one == other and len(json.loads(one)) > 5
    assert [path.suffix for path in (cache / "datasets").iterdir()] == [".arrow"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (lambda own: datasets.DatasetDict({"train": own, "test": own}), r"give one of \['test', 'train'\]"),
        (lambda own: own.to_iterable_dataset(), "not IterableDataset: name the files"),
        (lambda own: own.to_list(), "not list"),
        (lambda own: own.with_transform(dict), "transform"),
    ],
)
def test_what_is_no_data_set_is_refused(dataset: Any, keys: dict[str, Any], given: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Loader.from_dataset(given(dataset), keys)


def test_a_recipe_file_is_refused_as_it_names_other_sources(dataset: Any, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="as a mapping"):
        Loader.from_dataset(dataset, str(tmp_path / "recipe.yaml"))


def test_a_data_set_without_records_is_refused(dataset: Any, keys: dict[str, Any], tmp_path: Path) -> None:
    for empty in (dataset.data.table.slice(0, 0), dataset.select([])):
        with pytest.raises(packmill.Error, match="empty"):
            Loader.from_dataset(empty, keys, cache=tmp_path).open()


def saved(folder: Path, rows: list[Record]) -> Any:
    """A data set that lies in a file of its own."""
    datasets.Dataset.from_list(rows).save_to_disk(str(folder))
    return datasets.load_from_disk(str(folder))


def said(text: str) -> Record:
    return {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": f"{text}!"}]}


def test_what_only_looks_like_its_file_is_written_anew(keys: dict[str, Any], tmp_path: Path) -> None:
    """As many records under the same names as the file has, and others."""
    rows = [{"id": number, **said(f"a{number}")} for number in range(10)]
    others = [{"id": number, **said(f"b{number}")} for number in range(10)]
    one, two = saved(tmp_path / "a", rows), saved(tmp_path / "b", others)
    in_memory = datasets.Dataset.from_list(others[:5], features=one.features)
    answered = [row["messages"] for row in others]
    changed = {
        "replaced": (one.select(range(9)).add_item(others[0]), [*rows[:9], others[0]]),
        "column": (one.remove_columns("messages").add_column("messages", answered), others),
        "half": (datasets.concatenate_datasets([one.select(range(5)), in_memory]), [*rows[:5], *others[:5]]),
        "backwards": (datasets.concatenate_datasets([two, one]), [*others, *rows]),
        "twice": (datasets.concatenate_datasets([one, one]), [*rows, *rows]),
    }
    keys = {**keys, "shuffle": False, "lanes": 1}
    for name, (dataset, expected) in changed.items():
        folder = tmp_path / name
        folder.mkdir()
        assert_delivers(Loader.from_dataset(dataset, keys, cache=folder), expected, keys, folder)
    both = Loader.from_dataset(datasets.concatenate_datasets([one, two]), keys, cache=tmp_path / "both")
    assert len(paths(both)) == 2 and not (tmp_path / "both").exists()


def test_a_transform_is_refused_and_hidden_columns_stay_hidden(keys: dict[str, Any], tmp_path: Path) -> None:
    own = saved(tmp_path / "own", [{**said("a"), "prompt": "p", "completion": "c"} for _ in range(4)])
    with pytest.raises(UsageError, match="transform"):
        Loader.from_dataset(own.with_transform(lambda batch: batch), keys)
    shown = own.with_format("torch", columns=["messages"])
    loader = Loader.from_dataset(shown, keys, cache=tmp_path / "cache")
    assert_delivers(loader, [said("a")] * 4, keys, tmp_path)


def test_keywords_go_over_a_recipe_key_by_key(dataset: Any, keys: dict[str, Any], tmp_path: Path) -> None:
    recipe = {**keys, "pack": {"strategy": "concat", "sequence_length": 64}}
    pack = Loader.from_dataset(dataset, recipe, cache=tmp_path, pack={"sequence_length": 128}).recipe["pack"]
    assert (pack["strategy"], pack["sequence_length"]) == ("concat", 128)
