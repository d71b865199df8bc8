"""Personal data out of free text, before the log: e-mail, phone, payment card, IBAN, and the sender's own raw id.

Rather too much than too little: a number of seven digits or more is taken for a phone number, however it is split.
Coordinates, amounts with their currency and numbers that are said to be an order's stay (tests/test_scrub_table.py has
precision and recall); so do dates, times and shorter numbers, and an id in which letters and digits mix (``3f25a04e``).
Looking is done on a folded copy (digits of any script, odd spaces and dashes, invisible characters); a text without
personal data comes back as it was typed. Every step is linear in the length of the text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache
from typing import Any

from stdnum import iban, luhn

from edgeloop.personal_names import EMAIL, ID, PHONE, stand_in

CARD, IBAN = "[card]", "[iban]"
MAX_DEPTH = 64
"""Of nested lists and objects; nobody writes deeper, and Python's own recursion ends not far beyond."""

Span = tuple[int, int, str]
"""Begin, end, and what stands there instead."""


class TooDeepError(ValueError):
    """A value is nested deeper than `MAX_DEPTH`."""


_NUL = "\0"
_REPLACEMENT = "\ufffd"
_NOTHING_TO_FIND = re.compile(
    r"(?:(?![\[({<]\s?at|\b(?:dot\b|at\s+[\w\-]+\s?\.|arr?oba|klammera))[\t\n\r !-$&-/:-?A-~])*", re.IGNORECASE
)
_PLAIN = re.compile(r"[\t\n\r -$&-~]*")
_ESCAPED = re.compile(r"%(?:20|28|29|2[BDEFbdef]|40)")
_MIDDLE_DOTS = frozenset("\u00b7\u2022\u2027\u2219\u22c5\u30fb\u3002\uff61")
_BLANK_LETTERS = frozenset("\u115f\u1160\u3164\uffa0")

_OPEN, _CLOSE = r"[\[({<]\s?", r"\s?[\])}>]"
_DOT_WORDS = "dot|punkt|point|ponto"
_DOT = rf"(?:\.|\s\.\s|\s(?:{_DOT_WORDS})\s|\s?{_OPEN}(?:{_DOT_WORDS}){_CLOSE}\s?)"
_AT_DOMAIN = re.compile(
    rf"(?:\s?@\s?|\s?{_OPEN}at{_CLOSE}\s?|\s(?:{_OPEN})?(?:klammeraffe|arroba|arobase)(?:{_CLOSE})?\s)[\w\-]+(?:{_DOT}[\w\-]+)+"
    rf"|\sat\s[\w\-]+(?:\s(?:{_DOT_WORDS})\s[\w\-]+)+"
    # "name at example.org" is an address, "bought at example.org" is not.
    r"|(?P<word>\sat\s)(?:[\w\-]+(?:\.|\s\.\s))+[a-z]{2,}\b",
    re.IGNORECASE,
)
_SAYS_AT = ("@", "at", "klammeraffe", "arroba", "arobase")
_SPELT_BEFORE = re.compile(rf"[\w\-]+\s(?:{_DOT_WORDS})\s$", re.IGNORECASE)
_LONGEST_PART = 64
_NOT_NAMES = frozenset(
    {
        "bought", "buy", "ordered", "order", "orders", "purchased", "paid", "shop", "shopped", "shopping", "me",
        "us", "it", "him", "her", "them", "you", "is", "was", "are", "were", "be", "look", "looked", "looking",
        "see", "seen", "saw", "found", "find", "here", "there", "available", "delivered", "site", "website", "page",
        "online", "arrived", "work", "works", "worked", "working", "read", "sold", "cheaper", "booked", "listed",
        "price", "prices", "only", "that", "this", "not", "than", "up", "down", "customer", "account", "same",
        "good", "better", "or", "and", "stuff", "things", "back", "also", "offer", "offers", "register",
        "registered", "check", "visit", "service", "support",
    }
)  # fmt: skip
_NOT_BEFORE_AT = frozenset('@<>()[]{},;:"' + _NUL)

_IBAN_START = re.compile(r"[A-Za-z]{2}[ \t.\-/]{0,3}[0-9][ \t.\-/]{0,3}[0-9]")
_IBAN_SEPARATORS = frozenset(" \t.-/")
_IBAN_LENGTHS = range(15, 35)
_IBAN_VALUES = {c: int(c, 36) for c in "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"}

_SEPARATOR = r"[ \t./\\()\[\]{}\-]"
_SEPARATORS = _SEPARATOR + "{0,4}"
_NO_DIGITS_BEFORE = "".join(rf"(?<![0-9]{_SEPARATOR * n})" for n in range(1, 5))
_DAY_FIRST = r"(?:0?[1-9]|[12][0-9]|3[01])([-/.])(?:0?[1-9]|1[0-2])"
_CLOCK = r"[0-2]?[0-9]:[0-5][0-9](?::[0-6][0-9](?:[.,][0-9]{1,9})?)?"
_MOMENT = re.compile(
    # A date is one only as a whole: 06.12.10 in 06.12.10.15.34 belongs to a phone number.
    r"(?<![\w+])(?<![0-9][-/.])(?:"
    r"(?:19|20)[0-9]{2}([-/.])(?:0?[1-9]|1[0-2])\1(?:0?[1-9]|[12][0-9]|3[01])"
    rf"|{_DAY_FIRST}\2(?:19|20)[0-9]{{2}}"
    # With a year of two digits only where no further group of digits stands beside it, except a time.
    rf"|{_NO_DIGITS_BEFORE}{_DAY_FIRST}\3[0-9]{{2}}(?!{_SEPARATORS}[0-9]+(?![0-9:])(?!\s?(?:uhr|h)\b))"
    rf")(?:[T ]{_CLOCK}(?:Z|[ ]?[+\-][0-9]{{2}}:?[0-9]{{2}})?)?(?![0-9])(?![-/.][0-9])"
    rf"|(?<![\w:.+]){_CLOCK}(?![0-9:])",
    re.IGNORECASE,
)
_NUMBER = re.compile(
    rf"(?<!\w)[^\W0-9]*(?P<number>[+(\[]{{0,3}}[0-9](?:{_SEPARATORS}[0-9]){{6,}})(?![0-9])(?![^\W0-9]+[0-9])"
)
_ODDLY_SPLIT = re.compile(
    # With `_`, `,` or `:` between them digits are mostly no phone number: a prefix or the grouping must say so.
    r"(?<![\w,:])(?:(?:\+[0-9]{1,3}|0[0-9]{2,5})(?:[_,:]{1,2}[0-9]{2,8}){1,7}"
    r"|[0-9]{3}(?P<gap>[_,:])[0-9]{3}(?P=gap)[0-9]{4}"
    r"|[0-9]{4}(?P<split>[_,:])[0-9]{4}(?P=split)[0-9]{4}(?P=split)[0-9]{1,7})(?![\w])"
)
_ODD_SEPARATOR = re.compile(r"[0-9][_,:]{1,2}[0-9]{2}")
_FEWEST_ODDLY_SPLIT = 9
_NO_PHONE = re.compile(
    # Coordinates; an amount with its currency; the number of an order.
    r"(?<![\w.+])-?[0-9]{1,2}\.[0-9]{4,15}\s?[,;]\s?-?[0-9]{1,3}\.[0-9]{4,15}(?![\w.])"
    r"|(?<![\w+.,])(?<![0-9] )[1-9][0-9]{0,2}(?:[ .'][0-9]{3}){2,3}(?:,[0-9]{1,2})?\s?(?:€|£|\$"
    r"|(?:euros?|eur|usd|chf|gbp|brl|dollars?|reais|francs?|franken)\b)"
    r"|\b(?:order|invoice|tracking|parcel|ticket|bestellung|bestell-?(?:nummer|nr\.?)|auftrag|auftragsnummer|rechnung"
    r"|rechnungsnummer|sendung|sendungsnummer|paket|commande|facture|colis|pedido|encomenda|fatura)"
    r"(?:\s?(?:number|nummer|no|nr|n[o\u00b0]|num[eé]ro|n[uú]mero|id))?"
    r"[.:# ]{0,3}[1-9][0-9]{6,11}(?![\w]|[ ./\-()]{1,4}[0-9])",
    re.IGNORECASE,
)
_CARD_DIGITS = range(12, 20)

_CARD_NUMBERS = range(2 * 10**14, 7 * 10**18)
"""A number that is no text can be a card from 15 digits on: below lie times in milliseconds."""
_CARD_FIRST_DIGITS = "23456"  # microseconds and nanoseconds of our years begin with 1


def scrub(text: str, raw_ids: Collection[str] = ()) -> str:
    """The text with personal data replaced by ``[email]``, ``[phone]``, ``[card]``, ``[iban]`` or ``[id]``.

    Args:
        text: what a person typed. NUL in it becomes U+FFFD.
        raw_ids: the raw ids that came with it; replaced as whole words, whatever their case.
    """
    if _NOTHING_TO_FIND.fullmatch(text):
        places = None
        spans = list(_ids(text, raw_ids))
    else:
        folded, places = _folded(text)
        spans = _joined([*_ids(folded, raw_ids), *_emails(folded), *_ibans(folded)])
        spans = _joined([*spans, *_numbers(_blanked(folded, spans))])
    if spans:
        text = _replaced(text, spans, places)
    return text.replace(_NUL, _REPLACEMENT)


def scrub_tree(value: Any, raw_ids: Collection[str] = (), *, depth: int = 0, inside: str = "") -> Any:
    """The same for every text inside a JSON value, keys of objects too.

    What stands under a name for somebody's id (``user_id``, ``custmerId`` …, edgeloop/personal_names.py) becomes
    ``[id]``, under one for an address or a phone ``[email]`` or ``[phone]``, a number that is a card's ``[card]``.

    ``inside`` is the name under which the value stands.

    Raises:
        TooDeepError: nested deeper than `MAX_DEPTH`.
    """
    if isinstance(value, str):
        return scrub(value, raw_ids)
    if isinstance(value, int | float):
        return CARD if _is_card(value) else value
    if value is None:
        return None
    if depth >= MAX_DEPTH:
        raise TooDeepError(f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, list):
        return [scrub_tree(v, raw_ids, depth=depth + 1, inside=inside) for v in value]
    clean: dict[str, Any] = {}
    for key, inner in value.items():
        name = scrub(key, raw_ids)
        number = 2
        while name in clean:
            name = f"{scrub(key, raw_ids)}#{number}"
            number += 1
        clean[name] = _under(key, inner, inside, raw_ids, depth + 1)
    return clean


def _under(name: str, value: Any, inside: str, raw_ids: Collection[str], depth: int) -> Any:
    if isinstance(value, list) and depth < MAX_DEPTH:
        return [_under(name, one, inside, raw_ids, depth + 1) for one in value]
    return stand_in(name, value, inside) or scrub_tree(value, raw_ids, depth=depth, inside=name)


def _is_card(value: float) -> bool:
    if isinstance(value, bool) or not _CARD_NUMBERS.start <= value < _CARD_NUMBERS.stop or value != int(value):
        return False
    digits = str(int(value))
    return digits[0] in _CARD_FIRST_DIGITS and luhn.is_valid(digits)


def _folded(text: str) -> tuple[str, list[int] | None]:
    """The copy that is looked at, and where in the text each of its characters stands (None: at the same place)."""
    if _PLAIN.fullmatch(text):
        return text, None
    characters: list[str] = []
    places: list[int] = []
    i = 0
    while i < len(text):
        if text[i] == "%" and _ESCAPED.match(text, i):
            fold, width = chr(int(text[i + 1 : i + 3], 16)), 3
        else:
            fold, width = _fold(text[i]), 1
        if fold:
            characters.append(fold)
            places.append(i)
        i += width
    places.append(len(text))
    return "".join(characters), places


@lru_cache(maxsize=4096)
def _fold(character: str) -> str:
    """One character, or none for what nobody sees."""
    category = unicodedata.category(character)
    if category in ("Cf", "Mn", "Me") or character in _BLANK_LETTERS:
        return ""
    if category == "Cc":
        return character if character in "\t\n\r" else ""
    digit = unicodedata.digit(character, None)
    if digit is not None:
        return str(digit)
    if category == "Zs" or character == "\u2800":
        return " "
    if category == "Pd" or character == "\u2212":
        return "-"
    if character in _MIDDLE_DOTS:
        return "."
    plain = unicodedata.normalize("NFKC", character)
    return plain if len(plain) == 1 else character


def _ids(folded: str, raw_ids: Collection[str]) -> Iterator[Span]:
    if not raw_ids:
        return
    text = _lowered(folded)
    for raw_id in raw_ids:
        wanted = _lowered(_folded(raw_id)[0]).strip()
        begin = text.find(wanted) if wanted else -1
        while begin >= 0:
            end = begin + len(wanted)
            whole = not (begin and _is_word(text[begin - 1])) and not (end < len(text) and _is_word(text[end]))
            if whole:
                yield begin, end, ID
            begin = text.find(wanted, end if whole else begin + 1)


def _lowered(text: str) -> str:
    """Lower case at the same length."""
    lower = text.lower()
    return lower if len(lower) == len(text) else "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _emails(folded: str) -> Iterator[Span]:
    lower = folded.lower()
    if not any(said in lower for said in _SAYS_AT):
        return
    for found in _AT_DOMAIN.finditer(folded):
        begin = found.start()
        if begin and folded[begin - 1] == '"':
            quote = folded.rfind('"', max(0, begin - 128), begin - 1)
            begin = quote if quote >= 0 else begin
        else:
            while begin and folded[begin - 1] not in _NOT_BEFORE_AT and not folded[begin - 1].isspace():
                begin -= 1
            if found["word"] and folded[begin : found.start()].lower() in _NOT_NAMES:
                continue
            spelt = _SPELT_BEFORE.search(folded, max(0, begin - _LONGEST_PART), begin)
            begin = spelt.start() if spelt and begin < found.start() else begin
        if begin < found.start():
            yield begin, found.end(), EMAIL


def _ibans(folded: str) -> Iterator[Span]:
    found = _IBAN_START.search(folded)
    while found is not None:
        end = _iban_end(folded, found.start())
        if end is not None:
            yield found.start(), end, IBAN
        found = _IBAN_START.search(folded, end if end is not None else found.start() + 1)


def _iban_end(folded: str, begin: int) -> int | None:
    """Where the IBAN that begins here ends, if it is one: mod 97 as we go, then its country's structure."""
    count = gap = head = rest = 0
    for i in range(begin, len(folded)):
        value = _IBAN_VALUES.get(folded[i])
        if value is None:
            gap += 1
            if gap > 3 or folded[i] not in _IBAN_SEPARATORS:
                return None
            continue
        gap = 0
        count += 1
        if count <= 4:
            head = head * (10 if value < 10 else 100) + value
            continue
        rest = (rest * (10 if value < 10 else 100) + value) % 97
        # The first four characters, two letters and two digits, count at the end, as six digits.
        if count in _IBAN_LENGTHS and (rest * 1_000_000 + head) % 97 == 1:
            compact = "".join(c for c in folded[begin : i + 1] if c in _IBAN_VALUES)
            if iban.is_valid(compact, check_country=False):
                return i + 1
        if count >= _IBAN_LENGTHS.stop:
            return None
    return None


def _numbers(folded: str) -> Iterator[Span]:
    for found in _ODDLY_SPLIT.finditer(folded) if _ODD_SEPARATOR.search(folded) else ():
        digits = "".join(c for c in found[0] if c.isdigit())
        if len(digits) >= _FEWEST_ODDLY_SPLIT and not _MOMENT.match(folded, found.start()):
            card = len(digits) in _CARD_DIGITS and luhn.is_valid(digits)
            yield found.start(), found.end(), CARD if card else PHONE
    text = _MOMENT.sub(lambda moment: _NUL * len(moment[0]), folded)
    if _NUMBER.search(text):
        text = _NO_PHONE.sub(lambda other: _NUL * len(other[0]), text)
    for found in _NUMBER.finditer(text):
        begin, end = found.span("number")
        number = found["number"]
        if number[0] == "(" and number.count("(") > number.count(")"):
            begin += 1
        digits = "".join(c for c in number if c.isdigit())
        card = number[0].isdigit() and digits[0] != "0" and len(digits) in _CARD_DIGITS and luhn.is_valid(digits)
        yield begin, end, CARD if card else PHONE


def _blanked(folded: str, spans: list[Span]) -> str:
    parts: list[str] = []
    done = 0
    for begin, end, _ in spans:
        parts += (folded[done:begin], _NUL * (end - begin))
        done = end
    return "".join(parts) + folded[done:]


def _replaced(text: str, spans: list[Span], places: list[int] | None) -> str:
    parts: list[str] = []
    done = 0
    for begin, end, label in spans:
        first, last = (begin, end) if places is None else (places[begin], places[end])
        parts += (text[done:first], label)
        done = last
    return "".join(parts) + text[done:]


def _joined(spans: Iterable[Span]) -> list[Span]:
    """The spans in order, overlapping ones as one under the longer one's label."""
    joined: list[Span] = []
    for begin, end, label in sorted(spans, key=lambda span: (span[0], -span[1])):
        if joined and begin < joined[-1][1]:
            before = joined.pop()
            longer = before if before[1] - before[0] >= end - begin else (begin, end, label)
            joined.append((before[0], max(end, before[1]), longer[2]))
        else:
            joined.append((begin, end, label))
    return joined
