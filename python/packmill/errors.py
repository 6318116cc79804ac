"""What goes wrong, as exceptions. Each names shard, record, stage and remedy where there is one."""

from __future__ import annotations

from typing import Any


class Error(Exception):
    """Everything that packmill raises of its own.

    Attributes:
        kind: what class of thing went wrong: ``Recipe``, ``Io``, ``Corrupt``, ``Changed``, ``Row``, ``Template``,
            ``Tokenizer``, ``Mask``, ``Pack``, ``Limit``, ``Checkpoint``, ``Internal``, or ``Usage``.
        stage: where on the way from corpus to trainer.
        shard: the shard, where one is to blame.
        record: the record in it, from 0, where one is to blame.
    """

    def __init__(
        self,
        message: str,
        kind: str = "Usage",
        stage: str = "",
        shard: str | None = None,
        record: int | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.stage = stage
        self.shard = shard
        self.record = record

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (str(self), self.kind, self.stage, self.shard, self.record))


class RecipeError(Error, ValueError):
    """A recipe, or a combination of arguments, is wrong. All faults at once, a line each."""


class CorpusError(Error):
    """Something is wrong with the corpus, a template or a tokenizer."""


class CheckpointError(Error):
    """A state is missing, damaged, or of another stream."""


class InternalError(Error):
    """A fault of packmill itself, a panic in one of its threads included."""


class UsageError(Error, RuntimeError):
    """A loader is used where it cannot work, as in a forked process. The message says what to do instead."""


class PackmillWarning(UserWarning):
    """What is allowed, but perhaps not wanted."""


_CLASSES: dict[str, type[Error]] = {
    "Recipe": RecipeError,
    "Checkpoint": CheckpointError,
    "Internal": InternalError,
    "Usage": UsageError,
}


def make(message: str, kind: str, stage: str, shard: str | None, record: int | None) -> Error:
    """The exception of one of packmill's errors. The native part calls it."""
    return _CLASSES.get(kind, CorpusError)(message, kind, stage, shard, record)
