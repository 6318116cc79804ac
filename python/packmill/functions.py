"""Python functions over records, before packmill reads them as chats."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Union

from .errors import RecipeError

#: A record as JSON has it.
Record = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Formatter:
    """A function from a record to the record in its place, or to None, which leaves it out.

    It must be pure: its answer depends on the record alone, always and in every process. One thread calls it, under the
    interpreter's lock, so it costs what Python costs: some ten thousand records a second, where packmill makes hundreds of
    thousands. What can be done once, as renaming columns, is better done to the files, by ``sources[].fields`` or by the
    chat template.

    Args:
        function: takes the record, a dict; what it returns must be JSON's types.
        version: to be changed with whatever the function does. With its name it is part of the stream's fingerprint, so that
            states of another version are refused.
        name: in place of the function's own.
    """

    function: Callable[[Record], Mapping[str, Any] | None]
    version: str
    name: str | None = None


@dataclasses.dataclass(frozen=True)
class Filter:
    """A function of a record that is true of those that stay. As :class:`Formatter` otherwise; ``filter.where`` of a recipe
    does the same without Python."""

    function: Callable[[Record], Any]
    version: str
    name: str | None = None


Function = Union[Formatter, Filter]

#: One function or several, one after the other, over all sources, or by the name of the source that they are over.
Functions = Union[Function, Sequence[Function], Mapping[str, Union[Function, Sequence[Function]]], None]

#: A source's name or None for all, the identity of its functions, and what calls them.
Given = tuple[Union[str, None], str, "Chain"]


class Chain:
    """Functions one after the other, over lists of records as bytes."""

    def __init__(self, functions: Sequence[Function]) -> None:
        self.functions = tuple(functions)

    def __call__(self, records: list[bytes]) -> list[bytes | str | None]:
        return [self._one(record) for record in records]

    def _one(self, record: bytes) -> bytes | str | None:
        """The record, None, or as a text what was raised."""
        try:
            row: Any = json.loads(record)
        except ValueError:
            # packmill's own reader says what is wrong with it, and where.
            return record
        for step in self.functions:
            try:
                if isinstance(step, Filter):
                    if not step.function(row):
                        return None
                    continue
                row = step.function(row)
                if row is None:
                    return None
            except Exception as error:
                return f"{_name(step)} raised {type(error).__name__}: {error}"
        try:
            return json.dumps(row, allow_nan=False).encode("ascii")
        except (TypeError, ValueError, RecursionError) as error:
            return f"{_name(self.functions[-1])} returned what is no JSON: {error}"


def given(functions: Functions) -> list[Given]:
    """What the native part takes."""
    if functions is None:
        return []
    if isinstance(functions, Mapping):
        return [_chain(source, own) for source, own in functions.items()]
    return [_chain(None, functions)]


def _chain(source: str | None, functions: Function | Sequence[Function]) -> Given:
    steps = [functions] if isinstance(functions, (Formatter, Filter)) else list(functions)
    for step in steps:
        if not isinstance(step, (Formatter, Filter)):
            raise RecipeError(
                f"functions takes packmill.Formatter and packmill.Filter, not {type(step).__name__}: they name a version, which "
                "a stream's states are compared by"
            )
    identity = ", ".join(f"{type(step).__name__.lower()} {_name(step)} {step.version}" for step in steps)
    return source, identity, Chain(steps)


def _name(step: Function) -> str:
    function = step.function
    own = getattr(function, "__qualname__", type(function).__qualname__)
    return step.name or f"{getattr(function, '__module__', '')}.{own}"
