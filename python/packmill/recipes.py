"""Recipes as Python has them: files, mappings, and dataclasses with the same keys."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import _packmill
from .errors import RecipeError


class _Unset:
    """A key that is not given: packmill's default stands."""

    def __repr__(self) -> str:
        return "UNSET"


#: A key that is not given.
UNSET: Any = _Unset()


@dataclasses.dataclass
class Source:
    """What to read: ``sources[]`` of a recipe. ``docs/recipe.md`` explains every key."""

    name: str
    paths: list[str] | str
    weight: float | None = UNSET
    limit: int | None = UNSET
    format: str = UNSET
    kind: str = UNSET
    fields: Mapping[str, str] = UNSET
    roles: Mapping[str, str] = UNSET
    template: Any = UNSET
    mask: Mask | Mapping[str, Any] = UNSET
    render: str = UNSET
    special_tokens_in_text: str = UNSET
    filter: Mapping[str, Any] | None = UNSET
    split: Mapping[str, Any] | None = UNSET


@dataclasses.dataclass
class Mask:
    """What is trained: ``mask`` of a recipe."""

    train: str = UNSET
    markers: Mapping[str, str] = UNSET
    roles: list[str] = UNSET
    end_of_turn: bool = UNSET
    reasoning: str = UNSET
    tool_calls: str = UNSET
    weights: str = UNSET


@dataclasses.dataclass
class Pack:
    """How examples become rows: ``pack`` of a recipe."""

    strategy: str = UNSET
    sequence_length: int = UNSET
    overlong: str = UNSET
    lookahead: int = UNSET
    segment_multiple: int = UNSET
    max_segments: int | None = UNSET


@dataclasses.dataclass
class BatchShape:
    """How rows become batches: ``batch`` of a recipe."""

    rows: int = UNSET
    step_rows: int | None = UNSET
    labels: str = UNSET


@dataclasses.dataclass
class Recipe:
    """A recipe: the keys of the YAML file, checked by the same code when a loader is made of it."""

    tokenizer: Any
    sources: list[Source | Mapping[str, Any]]
    version: int = 1
    seed: int = UNSET
    tokenizer_check: int | None = UNSET
    template: Any = UNSET
    render: str = UNSET
    special_tokens_in_text: str = UNSET
    filter: Mapping[str, Any] | None = UNSET
    split: Mapping[str, Any] | None = UNSET
    duplicates: str = UNSET
    mask: Mask | Mapping[str, Any] = UNSET
    pack: Pack | Mapping[str, Any] = UNSET
    batch: BatchShape | Mapping[str, Any] = UNSET
    plan: str = UNSET
    lanes: int = UNSET
    shuffle: bool = UNSET
    hold: int | str = UNSET
    epochs: int | None = UNSET
    on_exhausted: str = UNSET
    schedule: list[Mapping[str, Any]] | None = UNSET
    on_bad_record: Any = UNSET
    limits: Mapping[str, Any] = UNSET
    workers: int | None = UNSET
    prefetch: int = UNSET
    io: str = UNSET


def resolved(recipe: Any, overrides: Mapping[str, Any]) -> tuple[str, str]:
    """A recipe with ``overrides`` in place of its own keys, checked, with every default, as JSON; and the folder that its
    relative paths are joined to: the recipe file's, else the working directory.

    Raises:
        RecipeError: every fault at once.
    """
    changes = _json(overrides)
    if isinstance(recipe, (str, os.PathLike)):
        return _packmill.load_recipe(os.fspath(recipe), changes)
    if isinstance(recipe, (Mapping, Recipe)):
        folder = str(Path.cwd())
        return _packmill.check_recipe(_json(recipe), folder, changes), folder
    raise RecipeError(f"a recipe is a file, a mapping or packmill.Recipe, not {type(recipe).__name__}")


def _json(value: Any) -> str:
    return json.dumps(plain(value))


def plain(value: Any) -> Any:
    """The value with dataclasses as mappings of the keys that are given, and paths as texts."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
        return {name: plain(own) for name, own in fields if own is not UNSET}
    if isinstance(value, Mapping):
        return {str(name): plain(own) for name, own in value.items() if own is not UNSET}
    if isinstance(value, (list, tuple)):
        return [plain(own) for own in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value
