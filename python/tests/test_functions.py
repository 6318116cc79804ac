"""Python functions over records: what they make of them, what goes wrong in them, and how they end."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import packmill
from conftest import records, write_chats
from packmill import CheckpointError, CorpusError, Filter, Formatter, Loader, RecipeError
from packmill.functions import Function
from test_loader import provenance, same
from test_waiting import assert_interrupted

Make = Callable[..., dict[str, Any]]
Record = dict[str, Any]


def shouted(record: Record) -> Record:
    """What the assistant says, in capitals; the reader's own record is changed, which is a copy."""
    for message in record["messages"]:
        if message["role"] == "assistant":
            message["content"] = message["content"].upper()
    return record


def one_turn(record: Record) -> bool:
    return len(record["messages"]) == 2


def only_one_turn(record: Record) -> Record | None:
    return record if one_turn(record) else None


def of_columns(row: Record) -> Record:
    turns = [{"role": "user", "content": row["asked"]}, {"role": "assistant", "content": row["answered"]}]
    return {"messages": turns}


def write(path: Path, rows: list[Record]) -> str:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.fixture
def chats(tmp_path: Path) -> Path:
    return write_chats(tmp_path / "chats.jsonl", 40)


@pytest.fixture
def keys(recipe: Make, chats: Path) -> dict[str, Any]:
    return recipe(sources=[{"name": "chats", "paths": [str(chats)]}], pack={"sequence_length": 512})


@pytest.mark.parametrize("plan", ["lanes", "global"])
def test_rewritten_records_come_out(
    keys: dict[str, Any], chats: Path, tmp_path: Path, cache: Path, plan: str
) -> None:
    functions: list[Function] = [Filter(one_turn, version="1"), Formatter(shouted, version="1")]
    left = [row for row in records(chats) if one_turn(row)]
    assert 10 < len(left) < 40
    path = write(tmp_path / "rewritten.jsonl", [shouted(row) for row in left])
    keys["plan"] = plan
    given = list(Loader(keys, functions=functions, cache=cache))
    rewritten = list(Loader({**keys, "sources": [{"name": "chats", "paths": [path]}]}, cache=cache))
    by_function, by_hand = (sorted(tokens_of_records(batches)) for batches in (given, rewritten))
    assert by_function == by_hand and len(by_hand) == len(left)


def tokens_of_records(batches: list[dict[str, Any]]) -> list[tuple[list[int], list[int]]]:
    """Ids and labels of each segment."""
    found = []
    for batch in batches:
        cuts = batch["cu_seqlens"].tolist()
        for first, last, real in zip(cuts, cuts[1:], batch["segment_lengths"].tolist()):
            if real:
                found.append(tuple(batch[name].flatten()[first:last].tolist() for name in ("input_ids", "labels")))
    return found


def test_what_no_reader_knows_becomes_a_chat(recipe: Make, tmp_path: Path, cache: Path) -> None:
    rows = [{"asked": f"{number}?", "answered": f"{number}!"} for number in range(5)]
    path = write(tmp_path / "rows.jsonl", rows)
    keys = recipe(sources=[{"name": "rows", "paths": [path]}])
    found = list(packmill.samples(keys, functions=Formatter(of_columns, version="1"), cache=cache))
    chats = write(tmp_path / "chats.jsonl", [of_columns(row) for row in rows])
    keys["sources"][0]["paths"] = [chats]
    expected = list(packmill.samples(keys, cache=cache))
    assert [sample["input_ids"] for sample in found] == [sample["input_ids"] for sample in expected]
    assert len(found) == 5


@pytest.mark.parametrize("function", [Filter(one_turn, version="1"), Formatter(only_one_turn, version="1")])
def test_what_is_left_out_is_counted(keys: dict[str, Any], chats: Path, cache: Path, function: Any) -> None:
    stays = sum(map(one_turn, records(chats)))
    keys["sources"].append({"name": "others", "paths": keys["sources"][0]["paths"]})
    with Loader(keys, functions={"chats": function}, cache=cache) as loader:
        delivered = sum(len(provenance(batch)) for batch in loader)
        ledger = loader.progress()["ledger"]
    assert delivered == stays + 40
    assert ledger["chats"]["records"]["dropped"] == {"filtered_function": 40 - stays}
    assert ledger["others"]["records"]["dropped"] == {}
    dropped = [s.get("dropped") for s in packmill.samples(keys, functions={"chats": function}, cache=cache)]
    assert dropped.count("filtered_function") == 40 - stays


def test_functions_are_over_the_source_that_names_them(keys: dict[str, Any], cache: Path) -> None:
    keys["sources"].append({"name": "others", "paths": keys["sources"][0]["paths"]})
    functions: list[Function] = [Filter(one_turn, version="1"), Formatter(shouted, version="1")]
    found = list(packmill.samples(keys, functions={"others": functions}, cache=cache))
    plain = list(packmill.samples(keys, cache=cache))
    for sample, own in zip(found, plain, strict=True):
        if sample["source"] == "chats":
            assert sample == own
        else:
            assert sample.get("dropped") == "filtered_function" or sample["input_ids"] != own["input_ids"]


def broken(record: Record) -> Record:
    if record["messages"][0]["content"].startswith("17:"):
        raise LookupError("no such lantern")
    return record


@pytest.mark.parametrize("plan", ["lanes", "global"])
def test_what_a_function_raises_names_the_record(keys: dict[str, Any], cache: Path, plan: str) -> None:
    with pytest.raises(CorpusError, match="broken raised LookupError: no such lantern") as raised:
        list(Loader({**keys, "plan": plan}, functions=Formatter(broken, version=plan), cache=cache))
    assert (raised.value.shard, raised.value.record) == ("chats.jsonl", 17)
    with pytest.raises(CorpusError, match="no such lantern") as raised:
        list(packmill.samples(keys, functions=Formatter(broken, version=plan), cache=cache))
    assert (raised.value.shard, raised.value.record) == ("chats.jsonl", 17)


def test_what_a_function_raises_is_skipped_where_the_recipe_skips(keys: dict[str, Any], cache: Path) -> None:
    keys["on_bad_record"] = {"skip": {"max_fraction": 0.1}}
    functions = Formatter(broken, version="1")
    with Loader(keys, functions=functions, cache=cache) as loader:
        assert sum(len(provenance(batch)) for batch in loader) == 39


@pytest.mark.parametrize("answer", [{"messages": {1}}, float("nan"), object()])
def test_what_is_no_json_is_refused(keys: dict[str, Any], cache: Path, answer: Any) -> None:
    functions = Formatter(lambda record: answer, version="1", name="strange")
    with pytest.raises(CorpusError, match="strange returned what is no JSON"):
        list(Loader(keys, functions=functions, cache=cache))


def test_a_state_of_another_version_is_refused(keys: dict[str, Any], cache: Path) -> None:
    first = Loader(keys, functions=Formatter(shouted, version="1"), cache=cache)
    had = [next(iter(first)) for _ in range(2)]
    state = first.state_dict()
    rest = list(first)
    again = Loader(keys, functions=Formatter(shouted, version="1"), cache=cache)
    again.load_state_dict(state)
    assert all(same(one, other) for one, other in zip(list(again), rest, strict=True)) and had
    for others in (Formatter(shouted, version="2"), Formatter(shouted, version="1", name="other"), None):
        other = Loader(keys, functions=others, cache=cache)
        other.load_state_dict(state)
        with pytest.raises(CheckpointError, match="function"):
            other.open()


def test_lengths_of_another_version_are_counted_anew(keys: dict[str, Any], cache: Path) -> None:
    """With ``plan: global`` lengths are kept in the cache, by what made them."""
    keys["plan"] = "global"
    for version, function in enumerate([shouted, only_one_turn]):
        with Loader(keys, functions=Formatter(function, version=str(version), name="same"), cache=cache) as loader:
            delivered = sum(len(provenance(batch)) for batch in loader)
        assert (delivered == 40) == (version == 0)


@pytest.mark.parametrize(
    ("functions", "says"),
    [
        ({"chat": Filter(bool, version="1")}, "source `chat`, which the recipe does not have"),
        ([shouted], "packmill.Formatter and packmill.Filter, not function"),
        ({"chats": [shouted]}, "packmill.Formatter and packmill.Filter, not function"),
        (shouted, "packmill.Formatter and packmill.Filter, not function"),
        ({"chats": shouted}, "packmill.Formatter and packmill.Filter, not function"),
        (Filter(lambda record: True, version="1"), "give name="),
        (Formatter(functools.partial(dict), version="1"), "give name="),
    ],
)
def test_functions_that_are_none_and_of_no_source_are_refused(
    keys: dict[str, Any], cache: Path, functions: Any, says: str
) -> None:
    with pytest.raises(RecipeError, match=says):
        Loader(keys, functions=functions, cache=cache).open()
    with pytest.raises(RecipeError, match=says):
        packmill.samples(keys, functions=functions, cache=cache)


def slow(record: Record) -> Record:
    time.sleep(0.05)
    return record


def test_closing_while_a_function_runs_does_not_hang(keys: dict[str, Any], cache: Path) -> None:
    loader = Loader(keys, functions=Formatter(slow, version="1"), cache=cache).open()
    time.sleep(0.2)
    begun = time.monotonic()
    loader.close()
    assert time.monotonic() - begun < 10
    samples = packmill.samples(keys, functions=Formatter(slow, version="1"), cache=cache)
    next(samples)
    begun = time.monotonic()
    del samples
    assert time.monotonic() - begun < 10


PROGRAM = """
import json, sys, time
import packmill

def slow(record):
    time.sleep(0.1)
    return record

keys, cache = json.loads(sys.argv[1])
functions = packmill.Formatter(slow, version="1")
"""

LIVE = """
loader = packmill.Loader(keys, functions=functions, cache=cache, tensors="numpy").open()
time.sleep(0.5)
print("at the end", flush=True)
"""

SAMPLES = """
samples = packmill.samples(keys, functions=functions, cache=cache)
next(samples)
"""

WAITING = """
loader = packmill.Loader(keys, functions=functions, cache=cache, tensors="numpy")
print("ready", flush=True)
try:
    for _ in loader:
        pass
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def running(program: str, keys: dict[str, Any], cache: Path) -> subprocess.Popen[str]:
    given = json.dumps([keys, str(cache)])
    return subprocess.Popen([sys.executable, "-c", PROGRAM + program, given], stdout=subprocess.PIPE, text=True)


AT_THE_END = """
print("at the end", flush=True)
"""


@pytest.mark.parametrize("program", [LIVE, LIVE + SAMPLES, SAMPLES + AT_THE_END])
def test_an_interpreter_ends_while_a_slow_function_runs(keys: dict[str, Any], cache: Path, program: str) -> None:
    ending = running(program, keys, cache)
    try:
        assert ending.communicate(timeout=30)[0] == "at the end\n"
        assert ending.returncode == 0
    finally:
        ending.kill()


@pytest.mark.parametrize("plan", ["lanes", "global"])
def test_ctrl_c_ends_a_wait_for_a_function_and_the_interpreter_ends_well(
    keys: dict[str, Any], cache: Path, plan: str
) -> None:
    """While the first batch is waited for, and while lengths are counted."""
    waiting = running(WAITING, {**keys, "plan": plan}, cache)
    assert_interrupted(waiting, "interrupted\n", after=0.5)


def test_what_is_wrong_with_a_record_is_no_others_matter(keys: dict[str, Any], chats: Path, cache: Path) -> None:
    """One that no JSON reader of Python's takes, among many that wait together."""
    lines = chats.read_text(encoding="utf-8").splitlines()
    lines[17] = "[" * 5000
    chats.write_text("\n".join(lines), encoding="utf-8")
    keys = {**keys, "workers": 16, "on_bad_record": {"skip": {"max_fraction": 1}}}
    with Loader(keys, functions=Formatter(slow, version="1"), cache=cache) as loader:
        delivered = {row[2] for batch in loader for row in provenance(batch)}
        assert loader.progress()["ledger"]["chats"]["records"]["dropped"] == {"bad_record": 1}
    assert delivered == set(range(40)) - {17}


def test_a_filter_leaves_records_as_they_are(recipe: Make, tmp_path: Path, cache: Path) -> None:
    """Also what Python would write otherwise, or not at all."""
    row = '{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}], "n": 1e400}'
    (tmp_path / "rows.jsonl").write_text(f"{row}\n{row}\n", encoding="utf-8")
    keys = recipe(sources=[{"name": "rows", "paths": [str(tmp_path / "rows.jsonl")]}])
    found = list(packmill.samples(keys, functions=Filter(one_turn, version="1"), cache=cache))
    assert found == list(packmill.samples(keys, cache=cache)) and len(found[0]["input_ids"]) > 2


def test_no_functions_are_none(keys: dict[str, Any], cache: Path) -> None:
    one = Loader(keys, functions=[], cache=cache).open()
    other = Loader(keys, cache=cache).open()
    assert one.fingerprint() == other.fingerprint()


def test_a_closed_loader_calls_no_function_any_more(keys: dict[str, Any], cache: Path) -> None:
    """Not even for the records that its workers have in hand."""
    calls = []

    def counted(record: Record) -> Record:
        calls.append(1)
        time.sleep(0.2)
        return record

    loader = Loader(keys, functions=Formatter(counted, version="1", name="counted"), cache=cache).open()
    while len(calls) < 3:
        time.sleep(0.01)
    begun = time.monotonic()
    loader.close()
    assert time.monotonic() - begun < 4
    had = len(calls)
    time.sleep(0.5)
    assert len(calls) == had < 15
