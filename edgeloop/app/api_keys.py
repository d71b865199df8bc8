"""Keys of senders and of people: shown once, kept as a hash, so that the file opens no door.

A sender's key takes events in and signs nobody in; a person's key signs in on ``/actions`` and takes no events.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import msgspec

from edgeloop.clock import Clock, SystemClock, iso
from edgeloop.errors import HomeError, UsageError
from edgeloop.home import API_KEYS, Home

PREFIX = "el_"


class ApiKey(msgspec.Struct, frozen=True):
    """One key: its name, the end of it for recognising, and the sha256 of all of it."""

    name: str
    id: str
    created: str
    sha256: str
    kind: Literal["sender", "person"] = "sender"
    role: str = ""
    """Of a person: the role they hold, by its key in the settings."""
    types: tuple[str, ...] = ()
    """Of a sender: the types of events that it may send; none: all."""
    until: str = ""
    """Of a sender: the last day, in UTC, on which it works; empty: no end."""
    rate: int = 0
    """Of a sender: events a second; 0: no bound."""

    @property
    def person(self) -> bool:
        """Whether it signs in."""
        return self.kind == "person"


def create(
    home: Home,
    name: str,
    clock: Clock | None = None,
    *,
    kind: Literal["sender", "person"] = "sender",
    role: str = "",
    types: tuple[str, ...] = (),
    until: str = "",
    rate: int = 0,
) -> str:
    """Make a key; this is the only time that it is seen."""
    key = _new()
    created = iso((clock or SystemClock()).now_us() // 1_000_000 * 1_000_000)
    with _alone(home):
        _write(home, [*read(home), ApiKey(name, key[-4:], created, _hash(key), kind, role, types, until, rate)])
    return key


def _new() -> str:
    """A key whose end is not taken for an option where `edgeloop keys remove` is given it."""
    while (key := PREFIX + secrets.token_urlsafe(32))[-4] == "-":
        pass
    return key


def read(home: Home) -> list[ApiKey]:
    """The keys there are."""
    path = home.keys / API_KEYS
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[ApiKey])
    except FileNotFoundError:
        return []
    except msgspec.DecodeError as error:
        raise HomeError(
            f"{path} is damaged ({error}): put it back from your backup, or remove it and make new keys"
        ) from error


def remove(home: Home, ends_in: str) -> ApiKey:
    """Take away the key that ends so; which that was.

    Raises:
        UsageError: none does, or several do.
    """
    with _alone(home):
        keys = read(home)
        found = [key for key in keys if key.id == ends_in]
        if len(found) != 1:
            what = "no key ends" if not found else f"{len(found)} keys end"
            raise UsageError(f"{what} in {ends_in!r}: `edgeloop keys list` shows how each ends")
        _write(home, [key for key in keys if key is not found[0]])
    return found[0]


def allowed(keys: list[ApiKey], authorization: str | None) -> bool:
    """Whether an ``Authorization`` header shows one of the senders' keys."""
    return sender_of(keys, authorization) is not None


def sender_of(keys: list[ApiKey], authorization: str | None) -> ApiKey | None:
    """The sender's key that an ``Authorization`` header shows, or None; takes the same time whichever it is."""
    scheme, _, key = (authorization or "").partition(" ")
    digest = _hash(key.strip())
    found = None
    for known in keys:
        if hmac.compare_digest(known.sha256, digest) and not known.person:
            found = known
    return found if scheme.lower() == "bearer" else None


def ended(key: ApiKey, now_us: int) -> bool:
    """Whether its last day is over."""
    return bool(key.until) and iso(now_us)[:10] > key.until


def signing_in(keys: list[ApiKey], key: str) -> ApiKey | None:
    """The person whose key this is, or None; takes the same time whichever it is."""
    digest = _hash(key.strip())
    found = None
    for known in keys:
        if hmac.compare_digest(known.sha256, digest) and known.person:
            found = known
    return found


@contextmanager
def _alone(home: Home) -> Iterator[None]:
    """From reading the file to writing it, so that of two commands at once neither undoes the other."""
    path = home.keys / f".{API_KEYS}.lock"
    try:
        for folder in (home.path, home.keys):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise HomeError(f"cannot write {path}: {error.strerror}. May the home only be read?") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)  # which gives the lock back


def _write(home: Home, keys: list[ApiKey]) -> None:
    home.write_secret(API_KEYS, msgspec.json.format(msgspec.json.encode(keys)).decode())


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
