"""The command line within the wheel."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import packmill

Make = Callable[..., dict[str, Any]]


def packmill_does(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "packmill", *arguments], cwd=folder, capture_output=True, text=True, timeout=60
    )


def test_it_says_its_version(tmp_path: Path) -> None:
    done = packmill_does("--version", folder=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"packmill {packmill.__version__}\n")


def test_a_demo_runs(tmp_path: Path) -> None:
    done = packmill_does("demo", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "packmill-demo" / "recipe.yaml").exists() and "digest" in done.stdout
    assert len(list(packmill.samples(tmp_path / "packmill-demo" / "recipe.yaml"))) == 4000


def test_a_wrong_recipe_is_named(recipe: Make, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe(lanes=0)))
    done = packmill_does("check", "recipe.yaml", folder=tmp_path)
    assert done.returncode == 2 and "recipe.yaml" in done.stderr and "lanes" in done.stderr


def test_a_wrong_corpus_is_another_code(recipe: Make, tmp_path: Path) -> None:
    (tmp_path / "chats.jsonl").write_text('{"messages": 7}\n')
    sources = [{"name": "chats", "paths": [str(tmp_path / "chats.jsonl")]}]
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe(sources=sources)))
    done = packmill_does("stream", "recipe.yaml", folder=tmp_path)
    assert done.returncode == 1 and "chats.jsonl" in done.stderr


def test_ctrl_c_ends_a_command(recipe: Make, tmp_path: Path) -> None:
    """One that has nothing to tidy up, in the middle of what it prints."""
    keys = recipe()
    (tmp_path / "recipe.yaml").write_text(json.dumps(keys))
    command = [sys.executable, "-m", "packmill", "samples", "recipe.yaml"]
    running = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    try:
        # Then it waits for whoever reads.
        running.stdout.readline()
        running.send_signal(signal.SIGINT)
        assert running.wait(10) == -signal.SIGINT
    finally:
        running.kill()
        running.stdout.close()


def test_one_process_may_run_several_commands(recipe: Make, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe()))
    program = """
from packmill import _packmill
for _ in range(2):
    assert _packmill.main(["packmill", "stream", "recipe.yaml", "--steps", "1"]) == 0
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
