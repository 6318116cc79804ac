"""Every example runs to its end."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
NEEDS = {"jax_loop": "jax", "lightning_fit": "lightning", "hf_trainer": "transformers", "accelerate_loop": "accelerate"}


@pytest.mark.parametrize("name", sorted(p.stem for p in EXAMPLES.glob("*.py") if p.stem[0] != "_"))
def test_an_example_runs_to_its_end(name: str, tmp_path: Path) -> None:
    needed = NEEDS.get(name, "transformers")
    if importlib.util.find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed")
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py")], capture_output=True, text=True, timeout=300, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
