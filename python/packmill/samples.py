"""What each record becomes, before anything is packed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from . import _packmill
from .errors import RecipeError
from .functions import Functions, given
from .recipes import resolved


def samples(
    recipe: Any,
    *,
    side: str = "train",
    functions: Functions = None,
    cache: str | os.PathLike[str] | None = None,
    **overrides: Any,
) -> Iterator[dict[str, Any]]:
    """What each record becomes before overlong, weights, shuffle, epochs and packing, in corpus order.

    Gives ``{"source", "shard", "record", "example", "input_ids", "labels"}`` with aligned labels, or ``{…, "dropped":
    reason}``: what ``packmill samples`` prints. Arguments are those of :class:`packmill.Loader`.
    """
    if side not in ("train", "eval"):
        raise RecipeError(f"side is 'train' or 'eval', not {side!r}")
    text, folder = resolved(recipe, overrides)
    where = None if cache is None else os.fspath(cache)
    samples = _packmill.Samples.open(
        text, folder, eval_side=side == "eval", cache=where, functions=given(functions)
    )
    return iter(samples)
