"""What the examples share: a small corpus, a tokenizer and a model, made on the spot."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from conftest import write_chats, write_tokenizer  # noqa: E402


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


def model() -> Any:
    """A Qwen3 of two layers and random weights."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.Qwen3Config(
        vocab_size=259,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        attn_implementation="sdpa",
        use_cache=False,
    )
    return transformers.Qwen3ForCausalLM(config)
