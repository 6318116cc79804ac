"""Makes an environment with what the tests need, puts the package beside its native part, and runs pytest.

`cargo test` calls it with the native part that it has just built. By hand, on an installed package, plain `pytest` does.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent

#: The versions that the tests were written with.
CONSTRAINTS = Path(__file__).resolve().parent / "constraints.txt"


def environment(folder: Path) -> Path:
    """The interpreter of an environment that has what `pyproject.toml` asks for; made, or made anew, where it is not there."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = sorted([*project["dependencies"], *project["optional-dependencies"]["test"]])
    stamp = folder / "packmill-needs.txt"
    wanted = "\n".join([sys.version, *needed, CONSTRAINTS.read_text(encoding="utf-8")])
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != wanted:
        print(f"making an environment in {folder}", flush=True)
        try:
            venv.create(folder, clear=True, with_pip=True)
            pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run([*pip, "--constraint", CONSTRAINTS, *needed], check=True)
        except subprocess.CalledProcessError as error:
            sys.exit(f"no environment for the Python tests: {error}. It needs Python's venv module and a package index.")
        stamp.write_text(wanted, encoding="utf-8")
    return python


def staged(folder: Path, library: Path) -> Path:
    """A folder with the package as a wheel has it: its modules, and the native part."""
    shutil.copytree(PROJECT / "packmill", folder / "packmill", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    shutil.copy2(library, folder / "packmill" / "_packmill.abi3.so")
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--library", type=Path, help="the native part; without it the environment is made and nothing else")
    parser.add_argument("--work", type=Path, required=True, help="folder for the environment and the package")
    parser.add_argument("rest", nargs="*", help="given to pytest")
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    python = environment(work / "environment")
    if arguments.library is None:
        return 0
    with tempfile.TemporaryDirectory(prefix="package-", dir=work) as folder:
        return tested(python, staged(Path(folder), arguments.library.resolve()), arguments.rest)


def tested(python: Path, package: Path, rest: list[str]) -> int:
    """Runs pytest; its exit code."""
    path = os.pathsep.join([str(package), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [python, "-m", "pytest", "-q", str(PROJECT / "tests"), *rest]
    # Not in the project's folder, whose own `packmill` has no native part.
    return subprocess.run(command, cwd=package, env={**os.environ, "PYTHONPATH": path}).returncode


if __name__ == "__main__":
    sys.exit(main())
