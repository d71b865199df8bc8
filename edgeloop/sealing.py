"""Dead letters: input that could not be taken, kept with its bytes sealed (AES-256-GCM under a key of its own).

What is wrong is said in words without the input's own values, so that a list of dead letters shows nobody's data.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from edgeloop.clock import from_us, iso, to_us
from edgeloop.errors import EdgeloopError
from edgeloop.events import LARGEST_INTEGER, Timestamp

LETTERS_KEPT_DAYS = 30
"""How long dead letters are kept from when they came."""
WHOLE_BYTES = 512 * 1024
"""Input up to this size is kept whole."""
HEAD_BYTES = 4 * 1024
"""Of larger input only so much is kept, beside the hash of all."""
_NONCE_BYTES = 12
# msgspec quotes the value that is none of an enumeration's; the path after it is made of our own field names.
_QUOTES_THE_VALUE = ("Invalid enum value ", "Invalid value ")
_BEFORE_PATH = " - at `"


class DeadLetter(msgspec.Struct, frozen=True):
    """One record of topic ``dead.letters``, one row of table ``dead_letters``."""

    dead_letter_id: str
    reason: str
    detail: str
    source: str
    place: str
    received_at: Timestamp
    sha256: str
    size: Annotated[int, msgspec.Meta(ge=0, le=LARGEST_INTEGER)]
    sealed: bytes

    def row(self) -> tuple[str | int | bytes, ...]:
        """Its row, in column order; the time in µs."""
        return (
            self.dead_letter_id, self.reason, self.detail, self.source, self.place, to_us(self.received_at),
            self.sha256, self.size, self.sealed,
        )  # fmt: skip

    @classmethod
    def of_row(cls, row: tuple[str, str, str, str, str, int, str, int, bytes]) -> DeadLetter:
        """The dead letter of a row."""
        head, received_us, tail = row[:5], row[5], row[6:]
        return cls(*head, from_us(received_us), *tail)

    @property
    def received(self) -> str:
        """When it came, RFC 3339."""
        return iso(to_us(self.received_at))


class Whole(msgspec.Struct, frozen=True):
    """Of input too large to be held: the sha256 (hex) and the number of all its bytes."""

    sha256: str
    size: int


class UnsealError(EdgeloopError):
    """The key does not open this dead letter."""


class Sealer:
    """Seals and opens under one key (32 bytes), which doors and workers hold and analysts do not."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._aead = AESGCM(key)

    def dead_letter(
        self,
        *,
        reason: str,
        detail: str,
        source: str,
        place: str,
        received_us: int,
        raw: bytes,
        whole: Whole | None = None,
    ) -> DeadLetter:
        """A dead letter of the original bytes; the same input from the same place twice has the same id.

        ``whole`` is given where ``raw`` is only the beginning.
        """
        digest, size = (hashlib.sha256(raw).hexdigest(), len(raw)) if whole is None else (whole.sha256, whole.size)
        # Keyed, because the plain hash of a short line could be guessed back to its content.
        identity = f"{reason}\0{source}\0{place}\0{digest}".encode()
        return DeadLetter(
            dead_letter_id=hmac.new(self._key, identity, hashlib.sha256).hexdigest()[:20],
            reason=reason,
            detail=detail,
            source=source,
            place=place,
            received_at=from_us(received_us),
            sha256=digest,
            size=size,
            sealed=self.seal(raw if size <= WHOLE_BYTES else raw[:HEAD_BYTES]),
        )

    def seal(self, raw: bytes) -> bytes:
        """Nonce and ciphertext."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, raw, None)

    def open(self, letter: DeadLetter) -> bytes:
        """The original bytes (of large input, its beginning).

        Raises:
            UnsealError: another key sealed it, or it was changed.
        """
        try:
            return self._aead.decrypt(letter.sealed[:_NONCE_BYTES], letter.sealed[_NONCE_BYTES:], None)
        except InvalidTag as error:
            raise UnsealError(
                f"dead letter {letter.dead_letter_id} does not open with the key of this home: "
                "put back the keys/dead-letters.key that was there when it came"
            ) from error


def encode(letter: DeadLetter) -> bytes:
    """The log record of a dead letter (bytes as base64)."""
    return msgspec.json.encode(letter)


def decode(body: bytes) -> DeadLetter:
    """The dead letter of a log record."""
    return msgspec.json.decode(body, type=DeadLetter)


def received_us(body: bytes, otherwise_us: int) -> int:
    """When the dead letter of a log record came, in µs; the other time where the record holds none."""
    try:
        return to_us(decode(body).received_at)
    except (msgspec.DecodeError, UnicodeError, RecursionError, OverflowError):
        return otherwise_us


def readable_detail(error: Exception) -> str:
    """What is wrong, in msgspec's words, without any value of the input."""
    if isinstance(error, UnicodeError):
        return "it is not UTF-8"
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    if isinstance(error, OverflowError):
        return "it holds a number that nothing can store"
    text = str(error)
    opening = next((o for o in _QUOTES_THE_VALUE if text.startswith(o)), None)
    if opening is None:
        return text
    _, path_begins, path = text.rpartition(_BEFORE_PATH)
    return f"{opening}(not shown){path_begins}{path}" if path_begins else f"{opening}(not shown)"
