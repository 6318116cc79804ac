"""Rows for the eyes: the same text in a terminal and in a notebook."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import packmill
from packmill import Formatter
from packmill.inspection import to_html

Make = Callable[..., dict[str, Any]]

SAID = 'yes <b>bold</b> & "quoted" ⟦brackets⟧'


@pytest.fixture
def keys(recipe: Make, tmp_path: Path) -> dict[str, Any]:
    """Ten chats with the same answer."""
    turns = [{"role": "user", "content": "is it <i>so</i>?"}, {"role": "assistant", "content": SAID}]
    path = tmp_path / "chats.jsonl"
    path.write_text((json.dumps({"messages": turns}) + "\n") * 10)
    sources = [{"name": "chats", "paths": [str(path)]}]
    return recipe(sources=sources, pack={"sequence_length": 256}, batch={"rows": 1}, duplicates="keep")


def without_marks(text: str) -> str:
    """What stands between a terminal's marks, or between tags."""
    return re.sub("\x1b\\[[0-9;]*m|<[^>]*>", "", text)


def test_what_is_trained_stands_in_brackets(keys: dict[str, Any], cache: Path) -> None:
    shown = packmill.inspect(keys, rows=1, cache=cache)
    text = repr(shown)
    assert text == shown.text and "\x1b" not in text
    # Its own brackets are spelled out.
    said = SAID.replace("⟦", r"\u{27e6}").replace("⟧", r"\u{27e7}")
    assert f"⟦{said}‹<|im_end|>›⟧" in text
    assert "row 0" in text and "row 1" not in text and "is it <i>so</i>?" in text
    trained = re.findall(r"⟦[^\n]*⟧", text)
    assert trained and not any("so</i>?" in part for part in trained)


def test_a_notebook_gets_the_terminals_text_and_colours(keys: dict[str, Any], cache: Path) -> None:
    shown = packmill.inspect(keys, rows=1, cache=cache)
    page = shown._repr_html_()
    assert page.startswith("<pre") and page.endswith("</pre>")
    assert html.unescape(without_marks(page)) == re.sub("\x1b\\[[0-9;]*m", "", shown.ansi)
    # Nothing of the corpus is taken for tags: there are no others than these.
    assert set(re.findall(r"</?([a-z]+)", page)) == {"pre", "span"}
    assert page.count("<span") == page.count("</span>") > 5
    green = re.findall(r'<span style="color: #1a8f3c">([^<]*)</span>', page)
    assert html.escape(SAID) in green


def test_rows_are_passed_over_and_rewritten(keys: dict[str, Any], cache: Path) -> None:
    shown = packmill.inspect(keys, rows=1, skip=1, cache=cache).text
    assert "row 1" in shown and "row 0" not in shown

    def calm(record: dict[str, Any]) -> dict[str, Any]:
        record["messages"][1]["content"] = "calm"
        return record

    assert "⟦calm" in packmill.inspect(keys, functions=Formatter(calm, version="1"), cache=cache).text


def test_lines_are_as_wide_as_asked(keys: dict[str, Any], cache: Path) -> None:
    lines = packmill.inspect(keys, width=60, cache=cache).text.splitlines()
    assert max(len(line) for line in lines if not line.startswith(("source", "tokenizer", "row", "segment"))) <= 60


@pytest.mark.parametrize(
    ("ansi", "page"),
    [
        ("plain & <b>", "plain &amp; &lt;b&gt;"),
        ("\x1b[1mbold\x1b[0m not", '<span style="font-weight: bold">bold</span> not'),
        ("\x1b[2m\x1b[35mboth\x1b[m", '<span style="opacity: 0.6; color: #a3a">both</span>'),
        ("\x1b[4;31mtwo\x1b[32mgreen", '<span style="text-decoration: underline; color: #c33">two</span>'
         '<span style="text-decoration: underline; color: #1a8f3c">green</span>'),
        ("\x1b[38;5;9m\x1b[0m", ""),
    ],
)
def test_colours_become_spans(ansi: str, page: str) -> None:
    assert to_html(ansi) == page
