"""Runs log bodies through the local log, the drain and the SQLite store, and reads the tables back for comparison."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from edgeloop.events import decode
from edgeloop.log.base import Entry
from edgeloop.log.local import LocalLog
from edgeloop.sealing import Sealer
from edgeloop.settings import AttributionSettings
from edgeloop.store.schema import ANSWERS, ATTRIBUTIONS, EVENT_TABLES, SUPERSEDED
from edgeloop.store.sqlite import Reader, SqliteStore
from streams.attribution import Rules
from streams.drain import Drain

COMPARED = (*EVENT_TABLES.values(), ANSWERS, SUPERSEDED, ATTRIBUTIONS)
NOT_COMPARED = frozenset({"received_at"})
SEALER = Sealer(b"k" * 32)


def entry(body: dict[str, Any]) -> Entry:
    raw = msgspec.json.encode(body)
    event = decode(raw)
    return Entry(event.topic, event.key, raw)


def run(
    home: Path,
    bodies: Sequence[dict[str, Any]],
    settings: AttributionSettings,
    *,
    chunks: Sequence[int] = (),
    max_records: int = 20_000,
) -> dict[str, list[tuple[Any, ...]]]:
    """The tables after appending in chunks of the given sizes (the rest at once), draining after each."""
    home.mkdir(parents=True, exist_ok=True)
    log = LocalLog(home / "log.sqlite", partitions=3)
    store = SqliteStore(home / "store.sqlite")
    drain = Drain(log, store, Rules.of(settings), SEALER, max_records=max_records)
    start = 0
    for size in (*chunks, len(bodies)):
        log.append([entry(body) for body in bodies[start : start + size]])
        start += size
        drain.run()
    store.close()
    log.close()
    return tables(home)


def tables(home: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every compared table as sorted tuples, without ``received_at``."""
    reader = Reader(home / "store.sqlite")
    found = {}
    for table in COMPARED:
        columns = ", ".join(f'"{name}"' for name in table.names if name not in NOT_COMPARED)
        found[table.name] = in_order(reader.query(f"SELECT {columns} FROM {table.name}")[1])
    reader.close()
    return found


def in_order(rows: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return sorted(rows, key=repr)


def rules_for_oracle(settings: AttributionSettings) -> dict[str, Any]:
    return {
        "engagement_window_us": round(settings.engagement_window_h * 3_600_000_000),
        "answer_window_us": round(settings.answer_window_days * 86_400_000_000),
        "credit_rule": settings.credit_rule,
        "max_touches": settings.max_touches,
        "whole_second_sources": list(settings.whole_second_sources),
    }
