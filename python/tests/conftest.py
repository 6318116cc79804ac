"""A corpus, a tokenizer and recipes, made by the tests themselves."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# The models are too small for more, and threads that wait for each other are slow where something else runs.
os.environ["OMP_NUM_THREADS"] = "1"

TEMPLATE = """{%- for message in messages -%}
<|im_start|>{{ message.role }}
{% if message.role == "assistant" -%}
{% generation %}{{ message.content }}<|im_end|>{% endgeneration %}
{%- else %}{{ message.content }}<|im_end|>{% endif %}
{% endfor -%}"""

SPECIAL = ["<|pad|>", "<|im_start|>", "<|im_end|>"]

WORDS = "tea boat snow harbour lantern why seven grüße 日本 the of a with and".split()


def byte_alphabet() -> list[str]:
    """How byte-level vocabularies spell the 256 bytes (GPT-2)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in plain else chr(next(others)) for byte in range(256)]


def write_tokenizer(folder: Path) -> Path:
    """A byte-level tokenizer of 259 tokens with a chat template that has generation tags."""
    folder.mkdir(parents=True, exist_ok=True)
    vocab = {letter: index for index, letter in enumerate(byte_alphabet())}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    added = [{"id": 256 + index, "content": token, **flags} for index, token in enumerate(SPECIAL)]
    step = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    tokenizer: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": step,
        "post_processor": None,
        "decoder": step,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": vocab,
            "merges": [],
        },
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|im_end|>",
        "pad_token": "<|pad|>",
        "chat_template": TEMPLATE,
        "model_max_length": 100000,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def write_chats(path: Path, count: int, seed: int = 1) -> Path:
    """Chats of one or two turns, of 5 to 40 words each."""
    draw = random.Random(seed)

    def said() -> str:
        return " ".join(draw.choice(WORDS) for _ in range(draw.randint(5, 40)))

    with open(path, "w", encoding="utf-8") as file:
        for number in range(count):
            messages = []
            for _ in range(draw.randint(1, 2)):
                messages.append({"role": "user", "content": f"{number}: {said()}"})
                messages.append({"role": "assistant", "content": said()})
            file.write(json.dumps({"messages": messages}, ensure_ascii=False) + "\n")
    return path


def records(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def model(*, layers: int = 2, width: int = 64, **options: Any) -> Any:
    """A Qwen3 of random weights, in fp32."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.Qwen3Config(
        vocab_size=259,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=width // 4,
        max_position_embeddings=4096,
        attn_implementation="sdpa",
        # With a cache, models do not look for segments.
        use_cache=False,
        **options,
    )
    return transformers.Qwen3ForCausalLM(config).float()


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tokenizer and 300 chats in two shards."""
    folder = tmp_path_factory.mktemp("corpus")
    write_tokenizer(folder / "tokenizer")
    write_chats(folder / "chats-0.jsonl", 150, 1)
    write_chats(folder / "chats-1.jsonl", 150, 2)
    return folder


@pytest.fixture(scope="session")
def few(corpus: Path, recipe: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """The same recipe over 40 chats."""
    path = write_chats(corpus / "few.jsonl", 40)

    def make(**keys: Any) -> dict[str, Any]:
        return recipe(**{"sources": [{"name": "chats", "paths": [str(path)]}], **keys})

    return make


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def recipe(corpus: Path) -> Callable[..., dict[str, Any]]:
    """A recipe of the corpus, with some keys in place of its own."""

    def make(**keys: Any) -> dict[str, Any]:
        return {
            "version": 1,
            "tokenizer": str(corpus / "tokenizer"),
            "sources": [{"name": "chats", "paths": [str(corpus / "chats-*.jsonl")]}],
            "pack": {"sequence_length": 1024},
            "batch": {"rows": 2},
            "lanes": 4,
            "workers": 2,
            "epochs": 1,
            **keys,
        }

    return make
