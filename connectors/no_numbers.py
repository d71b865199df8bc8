"""JSON with bare ``NaN`` and ``Infinity``, as Python, DuckDB and vendors' libraries write it: the value is absent."""

from __future__ import annotations

import re
from typing import Any

import msgspec

_WORDS = (b"NaN", b"Infinity")
_TEXT_OR_WORD = re.compile(rb'"(?:[^"\\]++|\\.)*+"|-?(?:NaN|Infinity)', re.DOTALL)
_decoder = msgspec.json.Decoder()


def decoded(raw: bytes) -> tuple[Any, int]:
    """The value of a JSON text, with ``null`` for each number that is none, and how many these were.

    Raises:
        msgspec.DecodeError, UnicodeDecodeError, RecursionError: it is no JSON even so.
    """
    try:
        return _decoder.decode(raw), 0
    except msgspec.DecodeError:
        if not any(word in raw for word in _WORDS):
            raise
    found = 0

    def absent(match: re.Match[bytes]) -> bytes:
        nonlocal found
        if match[0].startswith(b'"'):
            return match[0]
        found += 1
        return b"null"

    return _decoder.decode(_TEXT_OR_WORD.sub(absent, raw)), found
