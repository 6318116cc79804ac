"""Going on, alone and on other numbers of ranks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import packmill
from packmill import CheckpointError, Loader
from test_loader import provenance, same

Make = Callable[..., dict[str, Any]]


def rows(loader: Loader) -> dict[int, list[tuple[int, ...]]]:
    """Each row's segments by its number."""
    found: dict[int, list[tuple[int, ...]]] = {}
    for batch in loader:
        for at, row in zip(provenance(batch), batch["provenance"][:, 8].tolist()):
            found.setdefault(batch["row_numbers"][row], []).append(at)
    return found


@pytest.mark.parametrize("plan", ["lanes", "global"])
def test_a_stream_goes_on_exactly_from_any_step(recipe: Make, cache: Path, plan: str) -> None:
    keys = recipe(plan=plan, epochs=2, batch={"rows": 2, "step_rows": 4})

    def everything(loader: Loader) -> list[dict[str, Any]]:
        batches: list[dict[str, Any]] = []
        while more := list(loader):
            batches += more
        return batches

    whole = everything(Loader(keys, cache=cache))
    last = len(whole) // 2
    # Some are an epoch's end with plan: global, and the last the stream's.
    for step in (0, 1, 5, last // 2, last // 2 + 1, last):
        first = Loader(keys, cache=cache)
        had = 0
        while had < 2 * step:
            for _ in first:
                had += 1
                if had == 2 * step:
                    break
        state = json.loads(json.dumps(first.state_dict()))
        assert state["step"] == step == first.step
        first.close()
        second = Loader(keys, cache=cache)
        second.load_state_dict(state)
        assert second.state_dict() == state
        rest = everything(second)
        assert len(rest) == len(whole) - 2 * step
        assert all(same(one, other) for one, other in zip(rest, whole[2 * step :]))


def test_the_state_it_began_at_is_kept_while_others_come(recipe: Make, cache: Path) -> None:
    keys = recipe(epochs=None, batch={"rows": 1, "step_rows": 2})
    states = []
    for rank in range(2):
        first = Loader(keys, rank=rank, world_size=2, cache=cache)
        iterator = iter(first)
        for _ in range(3):
            next(iterator)
        assert first.state_dict(0)["state"] is None
        states.append(first.state_dict(3))
        first.close()
    alone = Loader(keys, rank=0, world_size=1, cache=cache)
    alone.load_state_dict(states)
    begun = alone.state_dict()
    iterator = iter(alone)
    for _ in range(8):
        next(iterator)
    assert alone.state_dict(3) == begun and alone.state_dict()["step"] == 7
    again = Loader(keys, rank=0, world_size=1, cache=cache)
    again.load_state_dict(begun)
    assert again.step == 3
    again.close()


def test_one_ranks_state_of_a_global_plan_is_refused(recipe: Make, cache: Path) -> None:
    keys = recipe(plan="global", batch={"rows": 1, "step_rows": 2})
    first = Loader(keys, rank=0, world_size=2, cache=cache)
    next(iter(first))
    other = Loader(keys, rank=0, world_size=2, cache=cache)
    with pytest.raises(CheckpointError, match="plan: global"):
        other.load_state_dict(first.state_dict())


def test_states_of_the_last_steps_are_kept(recipe: Make, cache: Path) -> None:
    loader = Loader(recipe(epochs=None), cache=cache)
    iterator = iter(loader)
    states = []
    for _ in range(70):
        next(iterator)
        states.append(loader.state_dict())
    assert [state["step"] for state in states] == list(range(1, 71))
    assert loader.state_dict(10) == states[9] and loader.state_dict(70) == states[69]
    for gone in (6, 71):
        with pytest.raises(CheckpointError, match="7 to 70"):
            loader.state_dict(gone)
    loader.close()


@pytest.mark.parametrize("plan", ["lanes", "global"])
def test_all_ranks_states_go_on_with_any_number_of_ranks(
    recipe: Make, cache: Path, plan: str
) -> None:
    keys = recipe(plan=plan, epochs=2 if plan == "global" else None, batch={"rows": 1, "step_rows": 4})
    steps = 8

    def loader(rank: int, world: int) -> Loader:
        return Loader(keys, rank=rank, world_size=world, steps=steps, cache=cache)

    whole = rows(loader(0, 1))
    for before, after in [(2, 4), (4, 1), (1, 2), (2, 2)]:
        states = []
        had: dict[int, list[tuple[int, ...]]] = {}
        for rank in range(before):
            first = loader(rank, before)
            iterator = iter(first)
            for _ in range(3 * 4 // before):
                batch = next(iterator)
                for at, row in zip(provenance(batch), batch["provenance"][:, 8].tolist()):
                    had.setdefault(batch["row_numbers"][row], []).append(at)
            states.append(first.state_dict())
            first.close()
        for rank in range(after):
            second = loader(rank, after)
            second.load_state_dict(states if rank % 2 else {"ranks": states})
            assert second.step == 3
            had.update(rows(second))
            second.close()
        assert had == whole


def test_a_ranks_own_state_is_for_that_rank(recipe: Make, cache: Path) -> None:
    keys = recipe(epochs=None, batch={"rows": 1})

    def loader(rank: int, world: int = 2) -> Loader:
        return Loader(keys, rank=rank, world_size=world, steps=6, cache=cache)

    states = []
    for rank in range(2):
        first = loader(rank)
        iterator = iter(first)
        for _ in range(3):
            next(iterator)
        states.append(first.state_dict())
        rest = [provenance(batch) for batch in iterator]
        again = loader(rank)
        again.load_state_dict(states[rank])
        assert [provenance(batch) for batch in again] == rest
        assert again.progress()["digest"] == first.progress()["digest"]
    for refused in (loader(1), loader(0, 1)):
        with pytest.raises(CheckpointError, match="rank 0 of 2"):
            refused.load_state_dict(states[0])
    with pytest.raises(CheckpointError, match="given twice"):
        lone = loader(0)
        lone.load_state_dict([states[0], states[0]])
        lone.open()


def test_another_stream_is_refused_with_the_difference(recipe: Make, cache: Path) -> None:
    first = Loader(recipe(), cache=cache)
    next(iter(first))
    state = first.state_dict()
    other = Loader(recipe(seed=99), cache=cache)
    other.load_state_dict(state)
    with pytest.raises(CheckpointError, match="seed"):
        next(iter(other))
    with pytest.raises(CheckpointError, match="no state"):
        other.load_state_dict({"epoch": 3})


def test_a_gathered_state_is_one_text(recipe: Make, cache: Path) -> None:
    first = Loader(recipe(), cache=cache)
    iterator = iter(first)
    next(iterator)
    saved = packmill.GatheredState(first).state_dict()
    assert isinstance(saved["packmill"], str)
    second = Loader(recipe(), cache=cache)
    packmill.GatheredState(second).load_state_dict(saved)
    assert provenance(next(iter(second))) == provenance(next(iterator))
