"""Processes that begin with everything imported: they are forked from a server that has imported it once."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import socket
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

#: What takes long to import.
IMPORTED = [
    "torch",
    "torch.distributed",
    "accelerate",
    "transformers.trainer",
    "trl.trainer.sft_trainer",
    "jax",
    "lightning",
    "packmill.hf",
    "packmill.lightning",
]

_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(IMPORTED)


def start(
    work: Callable[..., Any], *arguments: Any, log: Path, environment: dict[str, str] | None = None
) -> BaseProcess:
    """Does ``work`` in a process of its own, in the log's folder, with one thread for torch's numbers."""
    process = _server.Process(target=_work, args=(work, arguments, str(log), environment or {}), daemon=True)
    process.start()
    return process


def start_ranks(ranks: int, work: Callable[..., Any], *arguments: Any, log: Path) -> list[BaseProcess]:
    """The same on each of as many ranks, as torchrun would start them; one alone is started plainly."""
    if ranks == 1:
        return [start(work, *arguments, log=log)]
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(ranks)}
    return [
        start(
            work,
            *arguments,
            log=log.with_name(f"{log.name}-{rank}"),
            environment={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(ranks)
    ]


def ended(processes: list[BaseProcess], timeout: float = 120) -> list[int | None]:
    """Waits for them. What is not over by then is killed, and its code is None."""
    codes = []
    for process in processes:
        process.join(timeout)
        codes.append(process.exitcode)
        if process.exitcode is None:
            process.kill()
    return codes


def run_program(path: str) -> None:
    """Runs a program as ``python path`` would."""
    sys.path.insert(0, str(Path(path).parent))
    sys.argv = [path]
    runpy.run_path(path, run_name="__main__")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _work(work: Callable[..., Any], arguments: tuple[Any, ...], log: str, environment: dict[str, str]) -> None:
    import torch

    os.chdir(Path(log).parent)
    with open(log, "wb", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    # A forked process has its parent's ends of them.
    sys.stdout = open(1, "w", buffering=1, closefd=False)
    sys.stderr = open(2, "w", buffering=1, closefd=False)
    os.environ.update(environment)
    torch.set_num_threads(1)
    work(*arguments)
    sys.stdout.flush()
