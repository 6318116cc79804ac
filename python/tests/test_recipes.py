"""The dataclasses are the recipe's keys, no more and no fewer."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

import packmill
from packmill import _packmill
from packmill.recipes import UNSET, plain

SCHEMA = json.loads(_packmill.recipe_schema())


def keys(part: Any) -> set[str]:
    """The keys of an object of the schema, behind whatever names or offers it."""
    if "$ref" in part:
        return keys(SCHEMA["$defs"][part["$ref"].rsplit("/", 1)[1]])
    if "properties" in part:
        return set(part["properties"])
    found: set[str] = set()
    for option in [*part.get("anyOf", []), *part.get("oneOf", []), *part.get("allOf", [])]:
        found |= keys(option)
    return found


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        (packmill.Recipe, []),
        (packmill.Source, ["sources"]),
        (packmill.Mask, ["mask"]),
        (packmill.Pack, ["pack"]),
        (packmill.BatchShape, ["batch"]),
    ],
)
def test_dataclasses_have_every_key(kind: Any, path: list[str]) -> None:
    part = SCHEMA
    for name in path:
        part = part["properties"][name]
        part = part.get("items", part)
    assert {field.name for field in dataclasses.fields(kind)} == keys(part)


def test_what_is_not_given_is_left_to_packmill() -> None:
    assert plain(packmill.Pack(sequence_length=5)) == {"sequence_length": 5}
    assert plain({"a": UNSET, "b": [packmill.Mask()]}) == {"b": [{}]}
