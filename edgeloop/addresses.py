"""Addresses of mail as people write them in settings: ``name@example.org`` or ``A Name <name@example.org>``."""

from __future__ import annotations

import re
from email.headerregistry import Address

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9-]{1,63}"
_SPEC = rf"{_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})*"
_ADDRESS = re.compile(rf'(?:(?P<name>[^<>"]*|"[^<>"]*")\s*<(?P<named>{_SPEC})>|(?P<bare>{_SPEC}))')
_MOST_SPEC = 254  # RFC 5321, 4.5.3.1.3, less the brackets
_MOST_NAME = 100


def address(text: str) -> Address:
    """The address, its name without what could steer a header.

    Raises:
        ValueError: it is none, or not ASCII before and after the ``@`` (write a domain with other letters as
            ``xn--…``). The words hold nothing of the address.
    """
    if any(ord(c) < 32 or ord(c) == 127 for c in text):
        raise ValueError("a line break or another control character is in it")
    found = _ADDRESS.fullmatch(text.strip()) if len(text) <= _MOST_SPEC + 4 * _MOST_NAME else None
    spec = (found["named"] or found["bare"]) if found else ""
    if found is None or len(spec) > _MOST_SPEC or "=?" in spec:
        raise ValueError("write name@example.org or A Name <name@example.org>")
    return Address(display_name=one_line((found["name"] or "").strip(' "'), _MOST_NAME), addr_spec=spec)


def one_line(text: str, most: int) -> str:
    """Text in one line of at most ``most`` characters, without control characters and marks that turn its direction.

    What begins an encoded word of a header (RFC 2047: ``=?``) is broken up: decoded, it could be any of those again.
    """
    whole = " ".join("".join(c if c.isprintable() or c.isspace() else " " for c in text[: 4 * most]).split())
    whole = whole.replace("=?", "= ?")
    return whole if len(whole) <= most else whole[: most - 1].rstrip() + "…"
