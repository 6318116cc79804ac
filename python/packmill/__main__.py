"""The ``packmill`` command: ``python -m packmill`` and the console script."""

from __future__ import annotations

import sys

from . import _packmill


def main() -> None:
    """Does what the command line says, and ends the process with its exit code."""
    sys.exit(_packmill.main(["packmill", *sys.argv[1:]]))


if __name__ == "__main__":
    main()
