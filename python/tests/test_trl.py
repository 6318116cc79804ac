"""Recipes from TRL's configurations."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trl

import packmill
from packmill import Loader, PackmillWarning, Source

Make = Callable[..., dict[str, Any]]


def config(folder: Path, **options: Any) -> Any:
    return trl.SFTConfig(output_dir=str(folder), use_cpu=True, bf16=False, report_to=[], **options)


def converted(own: Any, corpus: Path, **options: Any) -> tuple[dict[str, Any], list[str]]:
    """The recipe, and what is warned of."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        options.setdefault("sources", str(corpus / "chats-*.jsonl"))
        recipe = packmill.from_trl(own, tokenizer=corpus / "tokenizer", **options)
    found = [warning for warning in said if issubclass(warning.category, PackmillWarning)]
    assert {warning.filename for warning in found} <= {__file__}
    return recipe, [str(warning.message) for warning in found]


def test_a_configurations_rows_are_made(corpus: Path, cache: Path, tmp_path: Path) -> None:
    own = config(
        tmp_path,
        packing=True,
        max_length=512,
        per_device_train_batch_size=2,
        gradient_accumulation_steps=3,
        num_train_epochs=2,
        seed=5,
        assistant_only_loss=True,
    )
    recipe, _ = converted(own, corpus, world_size=2)
    with Loader(recipe, rank=0, world_size=2, cache=cache) as loader:
        assert loader.micro_batches == 3 and loader.recipe["seed"] == 5
        batches = [batch for _ in range(2) for batch in loader]
    assert batches[0]["input_ids"].shape == (2, 512)
    assert {int(row[5]) for batch in batches for row in batch["provenance"]} == {0, 1}


def test_a_mapping_of_its_keys_does_too(corpus: Path, cache: Path) -> None:
    own = {"packing": True, "max_length": 512, "per_device_train_batch_size": 1, "num_train_epochs": 1, "max_steps": -1}
    sources = [str(corpus / "chats-0.jsonl"), Source(name="more", paths=[str(corpus / "chats-1.jsonl")])]
    recipe, _ = converted(own, corpus, sources=sources)
    assert [source["name"] for source in recipe["sources"]] == ["data", "more"]
    with Loader(recipe, cache=cache) as loader:
        assert {row[0] for batch in loader for row in batch["provenance"].tolist()} == {0, 1}


def test_the_models_own_tokens_stay(corpus: Path, tmp_path: Path) -> None:
    recipe, _ = converted(config(tmp_path), corpus)
    own = Loader({**recipe, "tokenizer": str(corpus / "tokenizer")})
    assert Loader(recipe).recipe["tokenizer"] == own.recipe["tokenizer"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"pad_to_multiple_of": 8}, "pad_to_multiple_of"),
        ({"loss_type": "dft"}, "loss_type"),
    ],
)
def test_what_has_no_equal_is_said(corpus: Path, tmp_path: Path, options: dict[str, Any], says: str) -> None:
    _, said = converted(config(tmp_path, **options), corpus)
    _, plain = converted(config(tmp_path), corpus)
    assert [text for text in said if says in text and text not in plain], said
    # Without a word of its own, TRL looks at the rows.
    assert any("completion_only_loss" in text for text in plain)


def test_the_ranks_are_those_that_there_are(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {"max_length": 64, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 8}
    recipe, said = converted(own, corpus)
    assert recipe["batch"]["step_rows"] == 32 and any("the number of ranks" in text for text in said)
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "8")
    recipe, said = converted(own, corpus)
    assert recipe["batch"]["step_rows"] == 256 and not any("the number of ranks" in text for text in said)
