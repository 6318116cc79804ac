"""The package's types hold, and its stubs are what the native part has."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import packmill

PROJECT = Path(__file__).parent.parent

#: Frameworks that take mypy half a minute to read, or have no types.
UNREAD = """
[[tool.mypy.overrides]]
module = ["accelerate.*", "datasets.*", "lightning.*", "pyarrow.*", "torchdata.*", "transformers.*", "trl.*"]
follow_imports = "skip"
ignore_missing_imports = true

[[tool.mypy.overrides]]
module = ["packmill.hf", "packmill.lightning", "lightning_fit", "on_ranks", "test_hf", "test_lightning"]
disallow_subclassing_any = false
warn_unused_ignores = false

[[tool.mypy.overrides]]
module = ["torch.*"]
implicit_reexport = true
"""


def mypy(module: str, *arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        capture_output=True,
        text=True,
        timeout=170,
        env={**os.environ, **environment},
    )
    return done.stdout + done.stderr


def test_package_examples_and_tests_are_typed(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    kept = getattr(pytestconfig, "cache", None)
    # Where pytest keeps what it knows, the next run takes seconds.
    cache = kept.mkdir("mypy") if kept else tmp_path / "cache"
    config = tmp_path / "pyproject.toml"
    config.write_text((PROJECT / "pyproject.toml").read_text(encoding="utf-8") + UNREAD, encoding="utf-8")
    programs = [*(PROJECT / "examples").glob("*.py"), *(PROJECT / "tests").glob("*.py")]
    # run.py needs a newer Python than the package.
    files = [str(PROJECT / "packmill"), *(str(path) for path in programs if path.name != "run.py")]
    options = ["--config-file", str(config), "--cache-dir", str(cache)]
    said = mypy("mypy", *options, *files, MYPYPATH=f"{PROJECT}{os.pathsep}{PROJECT / 'tests'}")
    assert said.startswith("Success"), said


def test_the_stub_is_what_the_native_part_has(tmp_path: Path) -> None:
    installed = Path(packmill.__file__).parent.parent
    said = mypy("mypy.stubtest", "packmill._packmill", PYTHONPATH=str(installed), MYPY_CACHE_DIR=str(tmp_path))
    assert said.startswith("Success"), said
