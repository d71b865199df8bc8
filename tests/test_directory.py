"""Which pages of a key with many a batch reads: those of the window, and those of the delivery that is named."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from edgeloop.log.local import LocalLog
from edgeloop.settings import AttributionSettings
from edgeloop.store.sqlite import SqliteStore
from streams import Drain, Rules
from streams.directory import Span, marks_of, pack_directory, unpack_directory
from streams.entries import Carried, Entry, Outcome, Shown, Unseen
from streams.state import PAGE_ENTRIES
from tests.oracle import oracle
from tests.pipeline import SEALER, Body, entry, in_order, rules_for_oracle, tables
from tests.worlds import DAY, HOUR, micros, stamp

START = micros("2026-02-01T00:00:00Z")
DAYS = 100
A_DAY = 40
"""Exposures that a courier carries each day, one a delivery."""


def page(*deliveries: str | None) -> list[Entry]:
    shown: list[Entry] = [Shown(f"x{n}", n, n, 1, delivery) for n, delivery in enumerate(deliveries)]
    return [*shown, Unseen(3, "p", 7, 7)]


def test_a_directory_comes_back_as_it_was() -> None:
    spans = (Span.of(1 << 60, page("d1", None, "d2")), Span.of(-5, page(None)))
    assert unpack_directory(pack_directory(spans)) == spans
    assert unpack_directory(pack_directory(())) == ()


def test_a_page_tells_of_the_deliveries_of_all_its_entries() -> None:
    carried = Carried("x", 1, "ann", 1, "carried", 0, 1, b"")
    outcome = Outcome(2, "e", 2, 2, "app", False, True, "named", None, [])
    span = Span.of(1, [*page("shown"), carried, outcome])
    for delivery in ("shown", "carried", "named"):
        assert span.may_be_of(marks_of([delivery]))
    assert not span.may_be_of(marks_of(["another"]))
    assert span.may_be_of(0)
    assert not Span.of(1, page(None)).may_be_of(marks_of(["any"]))


def test_one_page_in_twenty_is_read_for_nothing_at_most() -> None:
    full = [Span.of(1, page(*(f"D-{number}-{n}" for n in range(PAGE_ENTRIES)))) for number in range(500)]
    wrong = sum(span.may_be_of(marks_of([f"other-{n}"])) for n, span in enumerate(full))
    assert wrong / len(full) < 0.1


@pytest.mark.parametrize("n", [1, 2, 3, 56])
def test_directories_without_marks_may_be_of_any_delivery(n: int) -> None:
    """As stores have them that were written before pages told of their deliveries."""
    old = b"".join(struct.pack("<qqqI", -i, i, i << 22, 32) for i in range(n))
    spans = unpack_directory(old)
    assert [(s.first_us, s.last_us, s.rowid, s.n) for s in spans] == [(-i, i, i << 22, 32) for i in range(n)]
    assert all(span.may_be_of(marks_of([f"d{i}"])) for i, span in enumerate(spans))
    assert unpack_directory(pack_directory(spans)) == spans


def exposure(number: int) -> Body:
    at = START + number * DAY // A_DAY
    return {
        "type": "exposure", "exposure_id": f"x{number}", "subject": f"c{number % 700}", "occurred_at": stamp(at),
        "received_at": stamp(at), "touchpoint": "app", "model_id": f"m{number % 2}", "model_version": "1",
        "delivery_id": f"d{number}", "courier": "kim",
    }  # fmt: skip


def answer(name: str, at: int, **fields: Any) -> Body:
    return {
        "type": "response", "response_id": name, "subject": "kim", "respondent": "agent", "survey_id": "s",
        "source": "app", "occurred_at": stamp(at), "received_at": stamp(at),
        "answers": [{"question": "q", "kind": "rating", "value": 4.0}], **fields,
    }  # fmt: skip


class Counting(SqliteStore):
    pages = 0

    def page(self, rowid: int) -> bytes:
        self.pages += 1
        return super().page(rowid)


def test_an_answer_reads_the_pages_of_its_delivery_and_of_its_window_alone(tmp_path: Path) -> None:
    """A courier of 4,000 exposures is asked about a delivery of three months ago."""
    carried = [exposure(n) for n in range(DAYS * A_DAY)]
    end = START + DAYS * DAY
    far = answer("far", end + HOUR, delivery_id="d400")
    by_day = [carried[begin : begin + A_DAY] for begin in range(0, len(carried), A_DAY)]
    parts = [
        [far],
        # Late ones of deliveries that were named: after the answer to them, before it, and of the same delivery.
        [exposure(402) | {"exposure_id": "late", "delivery_id": "d400"}],
        [answer("waits", end + 2 * HOUR, delivery_id="d-late")],
        [exposure(800) | {"exposure_id": "later", "delivery_id": "d-late"}],
        # What it named is another's now: back to the window.
        [exposure(800) | {"exposure_id": "later", "delivery_id": "d-other", "revision": 1}],
    ]
    settings = AttributionSettings()
    log, store = LocalLog(tmp_path / "log.sqlite"), Counting(tmp_path / "store.sqlite")
    drain = Drain(log, store, Rules.of(settings), SEALER)
    read: list[int] = []
    bodies: list[Body] = []
    for part in by_day:
        log.append([entry(body) for body in part])
        bodies += part
        drain.run()
    for part in parts:
        log.append([entry(body) for body in part])
        bodies += part
        store.pages = 0
        drain.run()
        read.append(store.pages)
        found = tables(tmp_path)["attributions"]
        assert found == in_order(oracle(bodies, rules_for_oracle(settings))["attributions"])
    log.close()
    store.close()
    pages = DAYS * A_DAY // PAGE_ENTRIES
    of_window = 14 * A_DAY // PAGE_ENTRIES + 2
    # An answer: its window and its delivery. A late exposure: a window before and after it, and that of the answer.
    spare = pages // 12
    assert read[0] < of_window + spare
    assert read[1] < 3 * of_window + spare
    assert read[2] < of_window + spare
    assert read[3] < 3 * of_window + spare
    assert 3 * of_window + spare < pages * 2 // 3
