"""Text of others as it may be shown: on one line, bounded, without marks that nobody sees."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeloop.outside_text import printable, short_line

STEERS = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")
ANY = st.text(st.characters() | st.sampled_from("\u0300\u0301\u0302 \n\u202e\x1b"), max_size=300)


@given(ANY)
def test_printable_has_the_same_length_and_nothing_that_steers(text: str) -> None:
    shown = printable(text)
    assert len(shown) == len(text)
    assert shown.isprintable()
    assert not STEERS.search(shown)
    assert all(a == b for a, b in zip(text, shown, strict=True) if a.isprintable())


@given(ANY, st.integers(2, 250))
def test_a_short_line_is_one_is_short_and_stays_as_it_is(text: str, limit: int) -> None:
    shown = short_line(text, limit)
    assert len(shown) <= limit
    assert shown.isprintable()
    assert shown == shown.strip()
    assert "  " not in shown
    assert short_line(shown, limit) == shown


@given(ANY)
def test_no_letter_carries_more_than_two_marks(text: str) -> None:
    above = 0
    for c in short_line(text, 300):
        above = above + 1 if unicodedata.combining(c) else 0
        assert above <= 2


@pytest.mark.parametrize(
    ("text", "limit", "shown"),
    [
        ("a\u202eb\nc\x00d", 200, "a b c d"),
        ("one two three", 13, "one two three"),
        ("one two three", 12, "one two…"),
        ("one, two three", 7, "one…"),
        ("x" * 500, 200, "x" * 199 + "…"),
        ("short" + " " * 10_000 + "and the rest", 200, "short…"),  # what was not read is not hidden
        ("o\u0300\u0301\u0302\u0303ld", 200, "o\u0300\u0301ld"),
        ("नमस्ते", 200, "नमस्ते"),
    ],
)
def test_vectors(text: str, limit: int, shown: str) -> None:
    assert short_line(text, limit) == shown
