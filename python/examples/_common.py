"""What the examples share: a small corpus, a tokenizer and a model, made on the spot."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from conftest import model, write_chats, write_tokenizer  # noqa: E402


__all__ = ["model", "recipe"]


def recipe(**keys: Any) -> dict[str, Any]:
    """A recipe of 300 chats in a new folder."""
    folder = Path(mkdtemp(prefix="packmill-example-"))
    write_tokenizer(folder / "tokenizer")
    write_chats(folder / "chats.jsonl", 300)
    return {
        "version": 1,
        "tokenizer": str(folder / "tokenizer"),
        "sources": [{"name": "chats", "paths": [str(folder / "chats.jsonl")]}],
        "pack": {"sequence_length": 512},
        "lanes": 4,
        **keys,
    }
