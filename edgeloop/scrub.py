"""Personal data out of free text, before the log: e-mail, phone, payment card, IBAN, and the sender's own raw id.

Rather too much than too little: a long number in a remark is taken for a phone number. Dates, times and numbers of
fewer than seven digits stay. Every pattern is linear in the length of the text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from typing import Any

from stdnum import iban, luhn

EMAIL, PHONE, CARD, IBAN, ID = "[email]", "[phone]", "[card]", "[iban]", "[id]"

_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]")
_NUL = "\0"
_NOT_SPACE_AT = r"[^\s@<>()\[\]{},;:\"]"
_EMAIL = re.compile(rf"{_NOT_SPACE_AT}{{1,128}}\s?(?:@|\(at\)|\[at\])\s?[\w\-]+(?:\.[\w\-]+)+", re.IGNORECASE)
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?:[ \-.]?[A-Za-z0-9]){11,30}(?![A-Za-z0-9])")
# Digits with at most three separators between two of them, as people type numbers.
_NUMBER = re.compile(r"(?<![\w])[+(]{0,2}\d(?:[ ./()\-\u2010-\u2015\t]{0,3}\d){6,39}(?![\w])")
_DATE = re.compile(
    r"(?:19|20)\d\d[-/.](?:0?[1-9]|1[0-2])[-/.](?:0?[1-9]|[12]\d|3[01])"
    r"|(?:0?[1-9]|[12]\d|3[01])[-/.](?:0?[1-9]|1[0-2])[-/.](?:19|20)?\d\d"
)
_CARD_DIGITS = range(12, 20)
_PHONE_DIGITS = 7
_SMALLEST_CARD = 10**14
"""A number that is no text counts as a card from 15 digits on: below lie times in milliseconds."""


def scrub(text: str, raw_ids: Collection[str] = ()) -> str:
    """The text with personal data replaced by ``[email]``, ``[phone]``, ``[card]``, ``[iban]`` or ``[id]``.

    Args:
        text: what a person typed.
        raw_ids: the raw ids that came with it; replaced as whole words, whatever their case.
    """
    text = _INVISIBLE.sub("", text).replace(_NUL, "\ufffd")
    if not text.isascii():
        text = "".join(_plain(c) for c in text)
    for raw_id in raw_ids:
        if raw_id and raw_id.lower() in text.lower():
            text = re.sub(rf"(?<!\w){re.escape(raw_id)}(?!\w)", ID, text, flags=re.IGNORECASE)
    if "@" in text or "at)" in text.lower() or "at]" in text.lower():
        text = _EMAIL.sub(EMAIL, text)
    if any(c.isdigit() for c in text):
        text = _IBAN.sub(_iban, text)
        text = _NUMBER.sub(_number, text)
    return text


def scrub_tree(value: Any, raw_ids: Collection[str] = ()) -> Any:
    """The same for every text inside a JSON value, keys of objects too."""
    if isinstance(value, str):
        return scrub(value, raw_ids)
    if isinstance(value, dict):
        return {scrub(key, raw_ids): scrub_tree(v, raw_ids) for key, v in value.items()}
    if isinstance(value, list):
        return [scrub_tree(v, raw_ids) for v in value]
    if isinstance(value, int) and value > _SMALLEST_CARD and luhn.is_valid(str(value)):
        return CARD
    return value


def _plain(character: str) -> str:
    """Digits of any script and odd spaces as ASCII, so that they match; every other character as it is."""
    if character.isdigit() and not character.isascii():
        try:
            return str(unicodedata.digit(character))
        except ValueError:
            return character
    if unicodedata.category(character) == "Zs":
        return " "
    return "@" if character == "\uff20" else "+" if character == "\uff0b" else character


def _iban(match: re.Match[str]) -> str:
    """The longest beginning that is an IBAN goes, the words that a greedy match took along stay."""
    text = match[0]
    for end in range(len(text), 14, -1):
        if text[end - 1].isalnum() and iban.is_valid(text[:end], check_country=False):
            return IBAN + text[end:]
    return text


def _number(match: re.Match[str]) -> str:
    text = match[0]
    rest = _DATE.sub(" ", text)
    if rest != text and sum(c.isdigit() for c in rest) < _PHONE_DIGITS:
        return text
    digits = "".join(c for c in text if c.isdigit())
    if len(digits) in _CARD_DIGITS and luhn.is_valid(digits):
        return CARD
    return PHONE
