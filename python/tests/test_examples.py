"""Every example runs to its end."""

from __future__ import annotations

from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

import children

EXAMPLES = Path(__file__).parent.parent / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py") if path.stem[0] != "_")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[BaseProcess, Path]]]:
    """All at the same time, each with its log."""
    folder = tmp_path_factory.mktemp("examples")
    started = {}
    for name in NAMES:
        log = folder / f"{name}.log"
        started[name] = (children.start(children.run_program, str(EXAMPLES / f"{name}.py"), log=log), log)
    yield started
    children.ended([process for process, _ in started.values()], 0)


@pytest.mark.parametrize("name", NAMES)
def test_an_example_runs_to_its_end(running: dict[str, tuple[BaseProcess, Path]], name: str) -> None:
    process, log = running[name]
    assert children.ended([process]) == [0], log.read_text()
    assert log.read_text()
