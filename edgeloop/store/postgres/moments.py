"""Times and numbers between PostgreSQL and us: integer µs since 1970, int and float."""

from __future__ import annotations

from decimal import Decimal

from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.pq import Format
from psycopg.types.numeric import NumericBinaryLoader, NumericLoader

from edgeloop.clock import SECOND_US, from_us
from edgeloop.store.postgres.copying import EPOCH_2000_US
from edgeloop.store.postgres.session import Connection

_EPOCH_1970 = "'1970-01-01 00:00:00+00'::timestamptz"


def moment(us: int) -> str:
    """A time as an SQL literal, to the µs."""
    try:
        return f"'{from_us(us).isoformat(sep=' ')}'::timestamptz"
    except OverflowError:  # before the year 1 or after 9999, where Python's calendar ends
        seconds, fraction = divmod(abs(us), SECOND_US)
        minutes, second = divmod(seconds, 60)
        hours, minute = divmod(minutes, 60)
        sign = "-" if us < 0 else ""
        return f"({_EPOCH_1970} + '{sign}{hours}:{minute:02}:{second:02}.{fraction:06}'::interval)"


class MicrosLoader(Loader):
    """timestamptz → µs since 1970."""

    format = Format.BINARY

    def load(self, data: Buffer) -> int:
        """From µs since 2000."""
        return int.from_bytes(data, "big", signed=True) + EPOCH_2000_US


class IsoLoader(Loader):
    """timestamptz → RFC 3339 in UTC, as `edgeloop.clock.iso` writes it."""

    format = Format.TEXT

    def load(self, data: Buffer) -> str:
        """From PostgreSQL's own form; what has none in RFC 3339 (infinity, years before 1) stays as it is."""
        text = bytes(data).decode()
        day, space, rest = text.partition(" ")
        if not (space and rest.endswith("+00")):
            return text
        whole, dot, fraction = rest.removesuffix("+00").partition(".")
        return f"{day}T{whole}{dot}{fraction and fraction.ljust(6, '0')}Z"


class _Numbers(NumericLoader):
    def load(self, data: Buffer) -> int | float:  # type: ignore[override]
        return _plain(super().load(data))


class _BinaryNumbers(NumericBinaryLoader):
    def load(self, data: Buffer) -> int | float:  # type: ignore[override]
        return _plain(super().load(data))


def load_plain(db: Connection) -> None:
    """Give times of binary results as µs, and numeric as int (a sum of integers) or float."""
    db.adapters.register_loader("timestamptz", MicrosLoader)
    db.adapters.register_loader("numeric", _Numbers)
    db.adapters.register_loader("numeric", _BinaryNumbers)


def _plain(number: Decimal) -> int | float:
    exponent = number.as_tuple().exponent
    return int(number) if isinstance(exponent, int) and exponent >= 0 else float(number)
