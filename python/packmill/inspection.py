"""Rows for the eyes: in a terminal, and in a notebook."""

from __future__ import annotations

import html
import os
import re
from typing import Any

from . import _packmill
from .functions import Functions, given
from .recipes import resolved

#: Colours of the terminal's, readable on white and on black.
COLOURS = {"31": "#c33", "32": "#1a8f3c", "33": "#a70", "34": "#36c", "35": "#a3a", "36": "#088"}

_ESCAPE = re.compile("\x1b\\[([0-9;]*)m")


class Inspection:
    """Rows with what is trained of them told from the rest: text where it is printed, colours in a notebook."""

    def __init__(self, ansi: str, text: str) -> None:
        #: With the terminal's colours.
        self.ansi = ansi
        #: Without any; what is trained stands in ⟦…⟧.
        self.text = text

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return (
            '<pre style="white-space: pre-wrap; line-height: 1.35; font-family: monospace">' + to_html(self.ansi) + "</pre>"
        )


def inspect(
    recipe: Any,
    *,
    rows: int = 2,
    skip: int = 0,
    width: int = 100,
    functions: Functions = None,
    cache: str | os.PathLike[str] | None = None,
    **overrides: Any,
) -> Inspection:
    """Shows some rows of a recipe: what is trained, segments, padding, and how the corpus is read.

    Args:
        rows: how many.
        skip: how many of the stream's first ones are passed over.
        width: columns of a line, at most.
        recipe, functions, cache, overrides: as of :class:`packmill.Loader`.
    """
    text, folder = resolved(recipe, overrides)
    where = None if cache is None else os.fspath(cache)
    ansi, plain = _packmill.inspect(
        text, folder, skip=skip, rows=rows, width=width, cache=where, functions=given(functions)
    )
    return Inspection(ansi, plain)


def to_html(ansi: str) -> str:
    """A text with ANSI's colours (SGR) as HTML; nothing in it is taken for HTML."""
    out: list[str] = []
    style: dict[str, str] = {}
    at = 0
    for escape in _ESCAPE.finditer(ansi):
        _piece(out, ansi[at : escape.start()], style)
        at = escape.end()
        for code in escape.group(1).split(";"):
            if code in ("", "0"):
                style = {}
            elif code == "1":
                style["font-weight"] = "bold"
            elif code == "2":
                style["opacity"] = "0.6"
            elif code == "4":
                style["text-decoration"] = "underline"
            elif code in COLOURS:
                style["color"] = COLOURS[code]
    _piece(out, ansi[at:], style)
    return "".join(out)


def _piece(out: list[str], text: str, style: dict[str, str]) -> None:
    if not text:
        return
    escaped = html.escape(text)
    if style:
        css = "; ".join(f"{name}: {value}" for name, value in style.items())
        escaped = f'<span style="{css}">{escaped}</span>'
    out.append(escaped)
