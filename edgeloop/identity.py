"""Pseudonyms: the only form in which a person's id leaves the door.

``base32(HMAC-SHA256(key, kind ‖ 0x00 ‖ id))``, first 26 characters (130 bits), lower case. The key is made at first
run, file mode 0600, and never leaves the door.
"""

from __future__ import annotations

import base64
import hmac
import re
from typing import Literal

Kind = Literal["customer", "courier", "anonymous"]

PSEUDONYM = re.compile(r"^[a-z2-7]{26}$")

# What browsers, templates and trackers send when they know nobody: vendors.md §0.7 and Mixpanel's published block list.
NOBODY = frozenset(
    {
        "", "undefined", "null", "nil", "none", "<nil>", "n/a", "na", "anon", "anonymous", "unknown", "nan",
        "0", "-1", "true", "false", "[]", "{}", "[object object]", "00000000-0000-0000-0000-000000000000",
    }
)  # fmt: skip
_TEMPLATE = re.compile(r"\{\{.*\}\}", re.DOTALL)


def usable_id(raw: object) -> str | None:
    """The id as text, or None where it names nobody (absent, ``""``, ``undefined``, ``{{cid}}`` …)."""
    if isinstance(raw, bool) or not isinstance(raw, str | int):
        return None
    text = str(raw).strip()
    if text.lower() in NOBODY or _TEMPLATE.search(text):
        return None
    return text


class Pseudonymiser:
    """Turns raw ids into pseudonyms under one key (bytes, at least 32)."""

    def __init__(self, key: bytes) -> None:
        if len(key) < 32:
            raise ValueError("a pseudonym key has at least 32 bytes")
        self._key = key

    def pseudonym(self, kind: Kind, raw_id: str) -> str:
        """26 characters of ``[a-z2-7]``; the same id of another kind gives another pseudonym."""
        digest = hmac.digest(self._key, kind.encode() + b"\0" + raw_id.encode(), "sha256")
        return base64.b32encode(digest)[:26].decode().lower()
