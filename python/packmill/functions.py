"""Python functions over records, before packmill reads them as chats."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Union

from . import _packmill
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
        name: in place of the function's own, which lambdas, ``functools.partial`` and instances do not have.
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
        answers = []
        for record in records:
            if _ending:
                # No answers at all, which are taken for none, and not for bad records.
                return []
            answers.append(self._one(record))
        return answers

    def _one(self, record: bytes) -> bytes | str | None:
        """The record, None, or as a text what was raised. Whatever happens is this record's, and no other's."""
        try:
            row: Any = json.loads(record)
        except (ValueError, RecursionError):
            # packmill's own reader says what is wrong with it, and where.
            return record
        except BaseException as error:
            return f"the record raised {type(error).__name__}: {error}"
        rewritten = None
        for step in self.functions:
            try:
                if isinstance(step, Filter):
                    if not step.function(row):
                        return None
                    continue
                row, rewritten = step.function(row), step
                if row is None:
                    return None
            except BaseException as error:
                return f"{_name(step)} raised {type(error).__name__}: {error}"
        if rewritten is None:
            return record
        try:
            return json.dumps(row, allow_nan=False).encode("ascii")
        except BaseException as error:
            return f"{_name(rewritten)} returned what is no JSON: {error}"


#: Whether the interpreter is about to end, so that no function is to be called any more.
_ending = False


def end() -> None:
    """Waits until no thread calls a function, and lets none begin: they would outlive the interpreter."""
    global _ending
    _ending = True
    _packmill.end_functions()


def given(functions: Functions) -> list[Given]:
    """What the native part takes."""
    if functions is None:
        return []
    by_source: Mapping[Any, Any] = functions if isinstance(functions, Mapping) else {None: functions}
    chains = []
    for source, own in by_source.items():
        steps = list(own) if isinstance(own, Sequence) else [own]
        if steps:
            chains.append(_chain(source, steps))
    return chains


def _chain(source: str | None, steps: list[Function]) -> Given:
    for step in steps:
        if not isinstance(step, (Formatter, Filter)):
            raise RecipeError(
                f"functions takes packmill.Formatter and packmill.Filter, not {type(step).__name__}: they name a version, which "
                "a stream's states are compared by"
            )
        # Two of them would pass for one another.
        if step.name is None and "<lambda>" in getattr(step.function, "__qualname__", "<lambda>"):
            raise RecipeError(f"{step.function!r} has no name of its own, which a stream's states are compared by: give name=")
    identity = ", ".join(f"{type(step).__name__.lower()} {_name(step)} {step.version}" for step in steps)
    return source, identity, Chain(steps)


def _name(step: Function) -> str:
    return step.name or f"{getattr(step.function, '__module__', '')}.{getattr(step.function, '__qualname__', '')}"
