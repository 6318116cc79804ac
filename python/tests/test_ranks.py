"""Every sample once an epoch and in its order in each consumer, on one rank and on two; and the same losses on both."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import packmill
from conftest import write_chats, write_tokenizer

PROGRAM = Path(__file__).parent / "on_ranks.py"
RANKS = (1, 2)
CONSUMERS = ("plain torch", "Trainer", "SFTTrainer", "Accelerate", "torchdata", "torchtitan", "JAX", "Lightning")
RECORDS = 60
LENGTH = 256

#: Of each number of ranks what each rank wrote down.
Found = dict[int, list[dict[str, Any]]]

#: Epoch, record, first and last token.
Piece = tuple[int, int, int, int]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A recipe of two epochs, whose longer samples are split."""
    folder = tmp_path_factory.mktemp("chats")
    return {
        "version": 1,
        "tokenizer": str(write_tokenizer(folder / "tokenizer")),
        "sources": [{"name": "chats", "paths": [str(write_chats(folder / "chats.jsonl", RECORDS))]}],
        "pack": {"sequence_length": LENGTH, "overlong": "split"},
        "plan": "global",
        "epochs": 2,
        "workers": 2,
    }


@pytest.fixture(scope="module")
def found(keys: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Found:
    """Both numbers of ranks run at the same time, all consumers in one process a rank."""
    folders = {ranks: tmp_path_factory.mktemp(f"ranks-{ranks}") for ranks in RANKS}
    running = {ranks: start(ranks, keys, folder) for ranks, folder in folders.items()}
    try:
        for ranks, program in running.items():
            assert program.wait(120) == 0, (folders[ranks] / "log").read_text()[-5000:]
    finally:
        for program in running.values():
            program.terminate()
            program.wait(60)
    return {
        ranks: [json.loads((folder / f"rank-{rank}.json").read_text()) for rank in range(ranks)]
        for ranks, folder in folders.items()
    }


def start(ranks: int, keys: dict[str, Any], folder: Path) -> subprocess.Popen[bytes]:
    given = json.dumps({"keys": keys, "cache": str(folder / "cache"), "folder": str(folder)})
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    with open(folder / "log", "wb") as log:
        return subprocess.Popen(
            [sys.executable, *torchrun, str(PROGRAM), given],
            stdout=log,
            stderr=log,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )


@pytest.fixture(scope="module")
def pieces(keys: dict[str, Any]) -> list[Piece]:
    """Of each record the pieces of a row's length, but those without a target, twice over."""
    found = []
    for sample in packmill.samples(keys):
        labels = sample["labels"]
        for first in range(0, len(labels), LENGTH):
            last = min(first + LENGTH, len(labels)) - 1
            if set(labels[first + 1 : last + 1]) - {-100}:
                found += [(epoch, sample["record"], first, last) for epoch in range(2)]
    assert len(found) > 2 * RECORDS
    return sorted(found)


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("consumer", CONSUMERS)
def test_no_sample_is_lost_or_repeated_over_two_epochs_and_two_resumes(
    found: Found, pieces: list[Piece], consumer: str, ranks: int
) -> None:
    """By provenance; trainers' batches have none, and are told by their tokens."""
    everywhere = []
    for rank in found[ranks]:
        whole, seen = rank["undisturbed"], rank[consumer]
        assert seen["digests"] == whole["digests"]
        had = seen["provenance"] or whole["provenance"]
        assert had == whole["provenance"]
        everywhere += [(epoch, record, *tokens) for batch in had for _, _, record, _, _, epoch, *tokens, _ in batch]
    assert sorted(everywhere) == pieces


@pytest.mark.parametrize("ranks", RANKS)
def test_a_batchs_tokens_say_which_of_its_epoch_it_is(found: Found, ranks: int) -> None:
    """But those of padding alone, which fill the last step."""
    for rank in found[ranks]:
        whole = rank["undisturbed"]
        held = [(held[0][5], digest) for digest, held in zip(whole["digests"], whole["provenance"]) if held]
        assert len(held) == len(set(held)) > 40


def test_the_same_rows_have_the_same_loss_and_gradient_however_they_are_cut(found: Found) -> None:
    """Into micro-batches, and over ranks: by hand and in the Trainer."""
    cuts = {**found[1][0]["losses"], **found[2][0]["losses"]}
    assert len(cuts) == 14 and all(rank["losses"] == found[2][0]["losses"] for rank in found[2])
    first = cuts["plain 8 x 1 x 1"]
    assert len({loss for loss, _ in first}) == len(first) == 3
    for cut, steps in cuts.items():
        for step, own in zip(steps, first, strict=True):
            assert step == pytest.approx(own, rel=1e-5), cut
