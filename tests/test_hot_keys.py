"""A key with very many events (a test account) is right, and costs the others little: its state is cut into pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgeloop.log.local import LocalLog
from edgeloop.settings import AttributionSettings
from edgeloop.store.sqlite import SqliteStore
from streams.attribution import Rules
from streams.drain import Drain
from streams.state import PAGE_ENTRIES
from tests.oracle import oracle
from tests.pipeline import SEALER, entry, in_order, rules_for_oracle, tables
from tests.worlds import DAY, HOUR, MINUTE, micros, stamp

START = micros("2026-02-01T00:00:00Z")
MANY = 6_000
OTHERS = 300


def exposure(number: int, subject: str, at: int) -> dict[str, Any]:
    return {
        "type": "exposure", "exposure_id": f"{subject}-e{number}", "subject": subject, "occurred_at": stamp(at),
        "received_at": stamp(at + MINUTE), "touchpoint": "app", "model_id": f"m{number % 3}", "model_version": "1",
        "delivery_id": f"d{number % 40}", "courier": "hot-courier",
    }  # fmt: skip


def engagement(number: int, subject: str, at: int, **more: str) -> dict[str, Any]:
    return {
        "type": "engagement", "event_id": f"{subject}-g{number}", "subject": subject, "occurred_at": stamp(at),
        "received_at": stamp(at + MINUTE), "name": "order", "source": "app", **more,
    }  # fmt: skip


@pytest.fixture(scope="module")
def bodies() -> list[dict[str, Any]]:
    step = 60 * DAY // MANY
    hot = [exposure(n, "hot", START + n * step) for n in range(MANY)]
    outcomes = [engagement(n, "hot", START + n * 40 * step + HOUR) for n in range(MANY // 40)]
    linked = [engagement(10_000 + n, "hot", START + n * step, exposure_id=f"hot-e{(n * 7) % MANY}") for n in range(40)]
    agent = {
        "type": "response", "response_id": "r", "subject": "hot-courier", "respondent": "agent", "survey_id": "s",
        "source": "typeform", "occurred_at": stamp(START + 30 * DAY), "received_at": stamp(START + 30 * DAY),
        "answers": [{"question": "q", "kind": "rating", "value": 4.0}],
    }  # fmt: skip
    again = [hot[17], hot[MANY // 2] | {"revision": 1, "touchpoint": "locker"}, hot[-1] | {"fallback": True}]
    others = [exposure(n, f"c{n}", START + n * HOUR) for n in range(OTHERS)]
    others += [engagement(n, f"c{n}", START + n * HOUR + MINUTE) for n in range(OTHERS)]
    return [*outcomes[:20], *hot, *linked, *others, *outcomes[20:], agent, *again]


def test_a_hot_key_is_the_oracles(tmp_path: Path, bodies: list[dict[str, Any]]) -> None:
    settings = AttributionSettings(credit_rule="linear", max_touches=5)
    log = LocalLog(tmp_path / "log.sqlite")
    store = SqliteStore(tmp_path / "store.sqlite")
    drain = Drain(log, store, Rules.of(settings), SEALER)
    for begin in range(0, len(bodies), 900):
        log.append([entry(body) for body in bodies[begin : begin + 900]])
        drain.run()
    log.close()
    store.close()
    found = tables(tmp_path)
    for table, rows in oracle(bodies, rules_for_oracle(settings)).items():
        assert found[table] == in_order(rows), table


def test_a_batch_rewrites_no_more_of_a_hot_key_than_its_open_page(tmp_path: Path, bodies: list[dict[str, Any]]) -> None:
    log = LocalLog(tmp_path / "log.sqlite")
    store = SqliteStore(tmp_path / "store.sqlite")
    drain = Drain(log, store, Rules.of(AttributionSettings()), SEALER)
    log.append([entry(body) for body in bodies])
    drain.run()
    db = store._db
    ((pages,),) = db.execute("SELECT count(*) FROM state_pages")
    ((n, size),) = db.execute("SELECT n, length(entries) FROM state_heads WHERE key = 'hot'")
    assert pages > MANY / PAGE_ENTRIES
    assert n <= PAGE_ENTRIES
    assert size < 200 * PAGE_ENTRIES
    before = dict(db.execute("SELECT rowid, entries FROM state_pages"))
    log.append([entry(exposure(MANY + 1, "hot", START + 61 * DAY))])
    drain.run()
    assert before == dict(db.execute("SELECT rowid, entries FROM state_pages"))
    log.close()
    store.close()
