"""The ``packmill`` command: ``python -m packmill`` and the console script."""

from __future__ import annotations

import signal
import sys

from . import _packmill


def main() -> None:
    """Does what the command line says, and ends the process with its exit code."""
    # Python's own handler would wait for the command to come back.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(_packmill.main(["packmill", *sys.argv[1:]]))


if __name__ == "__main__":
    main()
