"""Recipes from what TRL's users have."""

from __future__ import annotations

import dataclasses
import json
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from . import _packmill, ranks
from .errors import PackmillWarning
from .recipes import Source, plain


def from_trl(
    config: Any,
    *,
    tokenizer: str | os.PathLike[str],
    sources: str | Sequence[str | Source | Mapping[str, Any]],
    world_size: int | None = None,
) -> dict[str, Any]:
    """A recipe that makes the rows that an ``SFTConfig`` asks for, as a mapping for :class:`packmill.Loader`.

    What has no equal, or behaves otherwise, is said in a :class:`packmill.PackmillWarning` each.

    Args:
        config: an ``SFTConfig``, or a mapping of its keys.
        tokenizer: the model's folder or Hub id, which an ``SFTConfig`` does not name.
        sources: what is in place of the trainer's data set: paths of files, or sources with a recipe's keys.
        world_size: the data-parallel ranks, which the rows of a step depend on; without it those of ``torch.distributed`` or
            of the environment.
    """
    # Not by to_dict(), which hides the values of all keys that end with `_token`.
    keys = dict(config) if isinstance(config, Mapping) else _fields(config)
    listed = [sources] if isinstance(sources, str) else list(sources)
    keys["tokenizer"] = os.fspath(tokenizer)
    keys["sources"] = [_source(number, source) for number, source in enumerate(listed)]
    if world_size is None:
        world_size = ranks.found()
    text, notes = _packmill.convert_trl(json.dumps(keys, default=str), world_size)
    for about, names, says in notes:
        warnings.warn(f"{about}: {names}: {says}", PackmillWarning, stacklevel=2)
    return json.loads(text)  # type: ignore[no-any-return]


def _fields(config: Any) -> dict[str, Any]:
    own = (field.name for field in dataclasses.fields(config) if field.init)
    return {name: getattr(config, name, None) for name in own}


def _source(number: int, source: Any) -> Any:
    if isinstance(source, (str, os.PathLike)):
        return {"name": "data" if number == 0 else f"data-{number + 1}", "paths": [os.fspath(source)]}
    return plain(source)
