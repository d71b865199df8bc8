"""Does the name of a field say that its value is who somebody is?

Fields that the contract does not know are kept, and senders misspell: ``custmer_id`` must not carry a raw id past the
door. So names are read word by word: somebody (``customer``, ``user``, ``member`` …), spelt right or nearly so, and
then what they are known by (``id``, ``number``, ``key`` …), whatever stands before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

EMAIL, PHONE, ID = "[email]", "[phone]", "[id]"
LONGEST_NAME = 128
"""A longer one is no name, and looking at it would cost time."""

_CUSTOMER, _COURIER = "customer_id", "courier_id"
_NEARLY = {"customer": (_CUSTOMER, 2), "courier": (_COURIER, 1)}
"""How many letters may be wrong, missing, too many or swapped."""
_OTHER_WORDS = frozenset({"customs", "carrier"})
"""So near and yet no slip: of goods at a border, of a company that carries them."""
_PEOPLE = frozenset(
    {
        "customer", "cust", "client", "user", "usr", "member", "subscriber", "buyer", "shopper", "consumer",
        "recipient", "person", "contact", "visitor", "account", "acct", "courier", "driver", "rider", "agent",
        "employee", "staff", "distinct", "anonymous", "kunde", "kunden", "fahrer", "cliente", "usuario",
        "utilisateur", "loyalty",
    }
)  # fmt: skip
_KNOWN_BY = frozenset(
    {
        "id", "ids", "uid", "uuid", "guid", "no", "nr", "num", "number", "nummer", "key", "ref", "reference", "code",
        "identifier", "token", "login", "handle", "hash", "card",
    }
)  # fmt: skip
_ID = frozenset({"id", "ids", "uid", "uuid"})
_COMPOUND = frozenset({"no", "nr", "number", "nummer", "key"})
"""Written together with who it is too: ``kundennummer``."""
_NEARLY_ID = frozenset({"di", "i", "d", "is", "if", "ud", "od", "idd", "iid", "io", "ld", "1d"})
"""Only behind ``customer`` and ``courier`` as they are written."""
_NAMED = frozenset(
    {
        "customer",
        "cust",
        "user",
        "member",
        "courier",
        "driver",
        "rider",
        "recipient",
        "contact",
        "first",
        "last",
        "full",
    }
)
"""Whose name is a person's; that of a client or an agent may be a program's."""
_AFTER = frozenset({"hash", "raw", "internal", "external", "md5", "sha1", "sha256", "str", "string", "value", "hashed"})
_ALONE = frozenset(
    {
        "customer", "courier", "user", "cust", "kunde", "uid", "cid", "login", "firstname", "lastname", "fullname",
        "surname", "nickname", "username", "passport", "passportnumber",
    }
)  # fmt: skip
_EMAIL = re.compile(r"email(?:address)?$|mailaddress$|^mail$")
_PHONE = re.compile(r"phone|mobile|telefon|^tel$|^fax$|whatsapp|msisdn")
_PHONE_OF_TEXT = re.compile(r"(?:phone|mobile|telefon|whatsapp|msisdn|^tel|^fax)(?:no|nr|number|nummer)?$")
_WORDS = re.compile(r"[A-Z]+s?(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_SMALLEST_PHONE = 10**6
_FEWEST_DIGITS = 5
"""Of a text under a name for phones: ``iPhone 14`` has fewer."""
_SHORTEST_ID = 3


def squeezed(name: str) -> str:
    """A property's name as it is compared: lower case, without ``$``, ``_``, ``-``, dots and spaces."""
    return re.sub(r"[$_\-.\s]", "", name).lower()


def stand_in(name: str, value: object, inside: str = "") -> str | None:
    """What is kept in place of a text or number under this name, or None where the name says nothing of a person.

    Args:
        name: of the field.
        value: what stands there; of a list each element is asked for alone.
        inside: the name of the object that the field is in: the ``id`` inside of ``user`` is somebody's.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if says_who(name) or (inside and says_who(f"{inside}_{name}")):
        return ID
    return _reach(name, value)


@lru_cache(maxsize=4096)
def says_who(name: str) -> bool:
    """Whether it is a name for somebody's id or name: ``user_id``, ``customerId``, ``custmer-id``, ``client_no``."""
    if len(name) > LONGEST_NAME:
        return False
    return squeezed(name) in _ALONE or meant_id(name) is not None or _is_of_somebody(name)


@lru_cache(maxsize=4096)
def meant_id(name: str) -> str | None:
    """``customer_id`` or ``courier_id`` where a name is that one, written in another way or misspelt."""
    if len(name) > LONGEST_NAME:
        return None
    who, known_by = _parted(name)
    if known_by in _ID:
        return _nearly(who)
    return _NEARLY[who][0] if who in _NEARLY and known_by in _NEARLY_ID else None


def _nearly(who: str) -> str | None:
    """The contract's id of the people that a word means, however it is spelt."""
    if who == "cust":
        return _CUSTOMER
    near = (field for word, (field, most) in _NEARLY.items() if _within(who, word, most))
    return None if who in _OTHER_WORDS else next(near, None)


def without_ids(value: Any, inside: str = "") -> Any:
    """A JSON value without what stands under names for a person's id, address or phone; all else is as it was.

    ``inside`` is the name under which the value stands.
    """
    if isinstance(value, list):
        return [without_ids(one, inside) for one in value]
    if not isinstance(value, dict):
        return value
    return {name: _without(name, inner, inside) for name, inner in value.items()}


def _without(name: str, value: Any, inside: str) -> Any:
    if isinstance(value, list):
        return [_without(name, one, inside) for one in value]
    return stand_in(name, value, inside) or without_ids(value, name)


def ids_in(value: Any, inside: str = "") -> Iterator[str]:
    """The texts and numbers that stand under names for somebody's id, to be looked for in what else was sent.

    Those without any digit are left out: they may be words.
    """
    if isinstance(value, dict):
        for name, inner in value.items():
            for one in inner if isinstance(inner, list) else [inner]:
                if stand_in(name, one, inside) == ID:
                    text = str(one).strip()
                    if len(text) >= _SHORTEST_ID and any(c.isdigit() for c in text):
                        yield text
                else:
                    yield from ids_in(one, name)


def _reach(name: str, value: str | float) -> str | None:
    """The stand-in for an address or a phone by its name."""
    if len(name) > LONGEST_NAME:
        return None
    bare = squeezed(name)
    if isinstance(value, str):
        if value and _EMAIL.search(bare):
            return EMAIL
        return PHONE if _PHONE_OF_TEXT.search(bare) and sum(c.isdigit() for c in value) >= _FEWEST_DIGITS else None
    return PHONE if abs(value) >= _SMALLEST_PHONE and _PHONE.search(bare) else None


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORDS.findall(name)]


def _parted(name: str) -> tuple[str, str]:
    """The two words of a name, also where nothing stands between them (``custmerid``); empty where it has others."""
    words = _words(name)
    if len(words) == 2:
        return words[0], words[1]
    bare = squeezed(name)
    for known_by in sorted(_ID | _NEARLY_ID | _COMPOUND, key=len, reverse=True):
        if bare.endswith(known_by) and (known_by not in _NEARLY_ID or bare[: -len(known_by)] in _NEARLY):
            return bare[: -len(known_by)], known_by
    return "", ""


def _is_of_somebody(name: str) -> bool:
    words = _words(name)
    while words:
        who, known_by = words[-2:] if len(words) > 1 else _parted(words[0])
        if (
            (known_by in ("name", "names") and who in _NAMED)
            or (known_by in _ID and (who.removesuffix("s") in _PEOPLE or _nearly(who) is not None))
            or (known_by in _KNOWN_BY and who in _PEOPLE)
        ):
            return True
        if words[-1] not in _AFTER and not words[-1].isdigit():
            return False
        words = words[:-1]
    return False


def _within(word: str, wanted: str, most: int) -> bool:
    """Whether so many letters changed, left out, added or swapped with the next one make one word of the other.

    Optimal string alignment: Damerau, Communications of the ACM 7 (1964), no part of the word edited twice.
    """
    if abs(len(word) - len(wanted)) > most:
        return False
    rows = [list(range(len(wanted) + 1))]
    for i, letter in enumerate(word, start=1):
        row = [i]
        for j, other in enumerate(wanted, start=1):
            row.append(min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (letter != other)))
            if i > 1 and j > 1 and letter == wanted[j - 2] and other == word[i - 2]:
                row[j] = min(row[j], rows[-2][j - 2] + 1)
        rows.append(row)
    return rows[-1][-1] <= most
