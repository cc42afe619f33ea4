"""Text of others, made harmless."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetlane.specs.support.text import counted, harmless


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("Straße 日本 🚗", "Straße 日本 🚗"),
        ("\x1b]52;c;cm0=\x07", "\\x1b]52;c;cm0=\\x07"),
        ("a\r\nb\tc", "a\\r\\nb\\tc"),
        ("\x9b2J", "\\x9b2J"),
        ("\ud800", "\\ud800"),
        ("abc\u202egpj.exe", "abc\\u202egpj.exe"),
        ("\u2066x\u2069\u200f", "\\u2066x\\u2069\\u200f"),
        ("\u2028", "\\u2028"),
        ("\U000e0041", "\\U000e0041"),
        ("👩\u200d🔧", "👩\u200d🔧"),
        (None, "None"),
    ],
)
def test_what_moves_a_terminal_is_shown_as_its_escape(text: object, shown: str) -> None:
    assert harmless(text) == shown


def test_lines_are_kept_where_asked() -> None:
    assert harmless("a\n\tb\r\x1b[1m", lines=True) == "a\n\tb\\r\\x1b[1m"


@given(st.text(st.characters(codec=None, categories=("C", "L", "Z", "N", "P", "S", "M"))), st.integers(40, 200))
def test_result_is_printable_bounded_encodable_and_stable(text: str, limit: int) -> None:
    shown = harmless(text, limit)
    assert len(shown) <= limit
    shown.encode("utf-8")
    assert not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in shown)
    assert harmless(shown, limit) == shown


def test_a_long_text_says_how_much_was_cut() -> None:
    assert harmless("x" * 1000, 100).endswith("… (900 characters more)")
    assert len(harmless("\x1b" * 1_000_000, 100)) == 100


def test_counted_things_are_one_or_many() -> None:
    said = [counted(1, "run"), counted(60.0, "run"), counted(0, "box"), counted(2, "class"), counted(None, "device")]
    assert said == ["1 run", "60 runs", "0 boxes", "2 classes", "None devices"]
