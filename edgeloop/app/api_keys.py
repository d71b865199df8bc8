"""Bearer keys of senders: shown once, kept as a hash, so that the file opens no door."""

from __future__ import annotations

import hashlib
import hmac
import secrets

import msgspec

from edgeloop.clock import Clock, SystemClock, iso
from edgeloop.errors import HomeError
from edgeloop.home import API_KEYS, Home

PREFIX = "el_"


class ApiKey(msgspec.Struct, frozen=True):
    """One key: its name, the end of it for recognising, and the sha256 of all of it."""

    name: str
    id: str
    created: str
    sha256: str


def create(home: Home, name: str, clock: Clock | None = None) -> str:
    """Make a key; this is the only time that it is seen."""
    key = PREFIX + secrets.token_urlsafe(32)
    created = iso((clock or SystemClock()).now_us() // 1_000_000 * 1_000_000)
    kept = [*read(home), ApiKey(name, key[-4:], created, _hash(key))]
    home.write_secret(API_KEYS, msgspec.json.format(msgspec.json.encode(kept)).decode())
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


def allowed(keys: list[ApiKey], authorization: str | None) -> bool:
    """Whether an ``Authorization`` header shows one of the keys; takes the same time whichever it is."""
    scheme, _, key = (authorization or "").partition(" ")
    digest = _hash(key.strip())
    good = False
    for known in keys:
        good |= hmac.compare_digest(known.sha256, digest)
    return good and scheme.lower() == "bearer"


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
