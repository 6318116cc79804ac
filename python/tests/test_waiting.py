"""What takes long ends with Ctrl-C."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Make = Callable[..., dict[str, Any]]

PROGRAM = """
import json, sys
import packmill
loader = packmill.Loader(json.loads(sys.argv[1]), tensors="numpy", cache=sys.argv[2])
opened = sys.argv[3] == "opened" and loader.open()
print("ready", flush=True)
had = 0
try:
    for batch in loader:
        had += 1
except KeyboardInterrupt:
    print("interrupted after", had, flush=True)
"""


def assert_interrupted(running: subprocess.Popen[str], says: str, *, after: float) -> None:
    """A program that says when it is ready is interrupted, says so soon, and ends well."""
    try:
        assert running.stdout is not None and running.stdout.readline() == "ready\n"
        time.sleep(after)
        running.send_signal(signal.SIGINT)
        sent = time.monotonic()
        assert running.stdout.readline() == says
        assert time.monotonic() - sent < 3
        assert running.wait(20) == 0
    finally:
        running.kill()


def assert_ends_with_ctrl_c(keys: dict[str, Any], cache: Path, when: str) -> None:
    """Soon after it begins to wait, long before there is a batch, and with its process ended well."""
    running = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, json.dumps(keys), str(cache), when], stdout=subprocess.PIPE, text=True
    )
    assert_interrupted(running, "interrupted after 0\n", after=0.2)


def test_a_first_batch_that_takes_long(recipe: Make, cache: Path) -> None:
    pack = {"strategy": "concat", "sequence_length": 1 << 23}
    keys = recipe(epochs=None, lanes=1, batch={"rows": 1}, pack=pack)
    assert_ends_with_ctrl_c(keys, cache, "opened")


@pytest.fixture(scope="module")
def long(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """150,000 chats."""
    path = tmp_path_factory.mktemp("long") / "chats.jsonl"
    path.write_text((corpus / "chats-0.jsonl").read_text(encoding="utf-8") * 1000, encoding="utf-8")
    return path


def test_counting_that_takes_long(recipe: Make, long: Path, tmp_path: Path) -> None:
    keys = recipe(plan="global", sources=[{"name": "chats", "paths": [str(long)]}], workers=1)
    assert_ends_with_ctrl_c(keys, tmp_path, "unopened")
