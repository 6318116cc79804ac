"""Loaders where processes are forked, spawned and served: each works, or says what to do instead."""

from __future__ import annotations

import gc
import multiprocessing
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

import children  # noqa: F401  (what its server has imported)
import packmill
from packmill import Loader, UsageError

Make = Callable[..., dict[str, Any]]

STARTS = ("fork", "forkserver", "spawn")

#: Seconds that anything may take.
PATIENCE = 60


class Stream(torch.utils.data.IterableDataset[Any]):
    """A loader in a DataLoader, as one might try it."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def __iter__(self) -> Iterator[Any]:
        return iter(self.loader)


@pytest.fixture
def keys(few: Make) -> dict[str, Any]:
    return few(pack={"sequence_length": 512})


@pytest.fixture
def whole(keys: dict[str, Any], cache: Path) -> list[list[list[int]]]:
    return [batch["provenance"].tolist() for batch in Loader(keys, cache=cache)]


def delivered(batches: Any) -> list[list[list[int]]]:
    """What all batches of a DataLoader hold. Its workers are ended, whatever comes."""
    iterator = iter(batches)
    try:
        return [batch["provenance"].tolist() for batch in iterator]
    finally:
        if batches.num_workers:
            iterator._shutdown_workers()


def in_workers(loader: Loader, workers: int, start: str) -> list[list[list[int]]]:
    return delivered(
        DataLoader(
            Stream(loader),
            batch_size=None,
            num_workers=workers,
            multiprocessing_context=start if workers else None,
            timeout=PATIENCE if workers else 0,
        )
    )


@pytest.mark.parametrize("start", STARTS)
def test_several_workers_of_a_dataloader_are_refused(keys: dict[str, Any], cache: Path, start: str) -> None:
    with Loader(keys, cache=cache) as loader, pytest.raises(UsageError, match="num_workers=0"):
        in_workers(loader, 2, start)


@pytest.mark.parametrize("start", STARTS)
def test_one_worker_of_a_dataloader_delivers_the_stream(
    keys: dict[str, Any], whole: list[Any], cache: Path, start: str
) -> None:
    with Loader(keys, cache=cache) as loader:
        assert in_workers(loader, 1, start) == whole


@pytest.mark.parametrize("begun", [False, True])
def test_a_dataloader_without_workers_delivers_what_is_left(
    keys: dict[str, Any], whole: list[Any], cache: Path, begun: bool
) -> None:
    with Loader(keys, cache=cache) as loader:
        if begun:
            next(iter(loader))
        assert in_workers(loader, 0, "") == whole[begun:]


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("workers", [1, 2])
def test_an_open_loader_is_refused_in_workers(
    keys: dict[str, Any], whole: list[Any], cache: Path, start: str, workers: int
) -> None:
    with Loader(keys, cache=cache) as loader:
        next(iter(loader))
        with pytest.raises(UsageError, match="forked" if start == "fork" else "sent to another process"):
            in_workers(loader, workers, start)
        # It goes on where it is.
        assert [batch["provenance"].tolist() for batch in loader] == whole[1:]


def answer(pipe: Connection, loader: Loader | None, keys: dict[str, Any], cache: str) -> None:
    """Sends what a loader delivers in this process, through a DataLoader without workers, or what is raised."""
    try:
        own = Loader(keys, cache=cache) if loader is None else loader
        pipe.send(delivered(DataLoader(Stream(own), batch_size=None)))
    except BaseException as error:
        pipe.send(error)


def in_process(start: str, work: Callable[..., None], *arguments: Any) -> Any:
    """What ``work`` sends from a process of its own; where that is an exception, it is raised."""
    receiving, sending = multiprocessing.Pipe(duplex=False)
    context: Any = multiprocessing.get_context(start)
    process = context.Process(target=work, args=(sending, *arguments), daemon=True)
    try:
        process.start()
        assert receiving.poll(PATIENCE), "nothing came"
        found = receiving.recv()
        process.join(PATIENCE)
        assert process.exitcode == 0
    finally:
        if process.pid is not None:
            process.kill()
    if isinstance(found, BaseException):
        raise found
    return found


@pytest.mark.parametrize("start", STARTS)
def test_a_loader_that_was_not_opened_works_in_another_process(
    keys: dict[str, Any], whole: list[Any], cache: Path, start: str
) -> None:
    assert in_process(start, answer, Loader(keys, cache=cache), keys, str(cache)) == whole


@pytest.mark.parametrize("start", STARTS)
def test_an_open_loader_is_refused_in_another_process_and_a_new_one_works(
    keys: dict[str, Any], whole: list[Any], cache: Path, start: str
) -> None:
    with Loader(keys, cache=cache) as loader:
        next(iter(loader))
        with pytest.raises(UsageError, match="in each process"):
            in_process(start, answer, loader, keys, str(cache))
        assert in_process(start, answer, None, keys, str(cache)) == whole


def refusals(pipe: Connection, loader: Loader, begun: Iterator[Any]) -> None:
    """Sends what each use of a loader says, anew and with the iterator that was begun, and lets go of it."""
    uses: list[Callable[[], Any]] = [lambda: next(iter(loader)), lambda: next(begun)]
    uses += [loader.progress, loader.stats, loader.state_dict]
    said = []
    for use in uses:
        try:
            said.append(f"nothing: {use()}")
        except BaseException as error:
            said.append(f"{type(error).__name__}: {error}")
    uses.clear()
    del begun, loader, use
    gc.collect()
    pipe.send(said)


def test_every_use_of_an_open_loader_is_refused_in_a_forked_child(keys: dict[str, Any], cache: Path) -> None:
    loader = Loader(keys, cache=cache)
    begun = iter(loader)
    next(begun)
    said = in_process("fork", refusals, loader, begun)
    assert len(said) == 5
    assert all(text.startswith("UsageError") and "forked" in text and "in each process" in text for text in said), said
    next(begun)
    loader.close()


def test_a_loader_with_functions_is_refused_in_a_forked_child(few: Make, cache: Path) -> None:
    """The thread that calls them is in the other process too."""
    functions = packmill.Filter(bool, version="1")
    loader = Loader(few(epochs=None), functions=functions, cache=cache)
    next(iter(loader))
    with pytest.raises(UsageError, match="forked"):
        in_process("fork", answer, loader, {}, str(cache))
    loader.close()
