"""What one request may cost: events are counted, lines that are no objects are one dead letter, work is in slices."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from pathlib import Path

import pytest

from connectors import Intake, Item, events_of_body, in_runs, native
from connectors.bounds import MOST_EVENTS, TooManyError
from connectors.intake import UNREAD
from connectors.runs import LONGEST_RUN
from edgeloop import sealing
from edgeloop.app.turns import SLICE_BYTES, SLICE_ITEMS, Turns
from edgeloop.events import DEAD_LETTERS_TOPIC
from edgeloop.home import SEALING_KEY, Home
from edgeloop.sealing import WHOLE_BYTES, Sealer
from edgeloop.settings import Settings
from tests.fakes import FixedClock, gzipped
from tests.test_door import NOW, exposure, serving


def items_of(*raw: bytes) -> list[Item]:
    return [Item(line, f"line {n}", UNREAD) for n, line in enumerate(raw, start=1)]


def places(*raw: bytes) -> list[str]:
    return [item.place for item in in_runs(items_of(*raw))]


@pytest.mark.parametrize(
    "body",
    [
        b"{}\n" * (MOST_EVENTS + 1),
        b"7\n" * 500_000,
        b"\n" * 5_000_000 + b"{}",
        b"[" + b"{}," * MOST_EVENTS + b"{}]",
        b" \n [" + b"1," * 2_000_000 + b"1]",
    ],
    ids=["lines", "digits", "empty lines", "elements", "digits in an array"],
)
def test_a_request_of_too_many_events_is_413_and_nothing_of_it_is_kept(tmp_path: Path, body: bytes) -> None:
    with serving(tmp_path / "home", Settings()) as door:
        answer = door.post(gzipped(body), **{"Content-Encoding": "gzip"})
        assert answer.status_code == 413
        assert "10,000 events" in answer.json()["error"]
        assert "smaller batches" in answer.json()["error"]
        assert door.log.entries == []


def test_as_many_as_allowed_are_taken_in_one_append(tmp_path: Path) -> None:
    with serving(tmp_path / "home", Settings()) as door:
        answer = door.post(b"\n".join(json.dumps(exposure(n)).encode() for n in range(MOST_EVENTS)))
        assert (answer.status_code, answer.json()["accepted"]) == (202, MOST_EVENTS)
        assert [r["id"] for r in answer.json()["results"]] == [f"x{n}" for n in range(MOST_EVENTS)]
        assert door.log.appends == 1


def test_a_run_of_lines_that_are_no_objects_is_one_dead_letter(tmp_path: Path) -> None:
    with serving(tmp_path / "home", Settings()) as door:
        good = json.dumps(exposure(1)).encode()
        answer = door.post(b"\n".join([b"1", b"2", b"", b"x", good, b"<a>", b"<b>", good, b"3"]))
        told = [{k: r.get(k) for k in ("line", "to", "status")} for r in answer.json()["results"]]
        assert told == [
            {"line": 1, "to": 4, "status": "dead_letter"},
            {"line": 5, "to": None, "status": "accepted"},
            {"line": 6, "to": 7, "status": "dead_letter"},
            {"line": 8, "to": None, "status": "accepted"},
            {"line": 9, "to": None, "status": "dead_letter"},
        ]
        letters = [sealing.decode(e.value) for e in door.log.entries if e.topic == DEAD_LETTERS_TOPIC]
        sealer = Sealer(door.home.secret(SEALING_KEY))
        assert [sealer.open(letter) for letter in letters] == [b"1\n2\nx", b"<a>\n<b>", b"3"]


def test_what_may_hold_an_object_is_looked_at_by_itself() -> None:
    assert places(b"1", b" 2", b'{"a":1', b"3", b'[{"a":1}]', b"4", b"\0{}", b"\xef\xbb\xbf{}", b"5", b"6") == [
        "line 1 to 2", "line 3", "line 4", "line 5", "line 6", "line 7", "line 8", "line 9 to 10",
    ]  # fmt: skip


def test_a_run_is_bounded_in_lines_and_in_bytes() -> None:
    assert places(*[b"7"] * (2 * LONGEST_RUN + 1)) == ["line 1 to 10000", "line 10001 to 20000", "line 20001"]
    long = b"x" * (WHOLE_BYTES // 2)
    assert all(len(item.raw) <= WHOLE_BYTES for item in in_runs(items_of(*[long] * 5)))


def test_a_body_within_the_bound_is_as_ever() -> None:
    body = b'{"a":1}\n\n{"a":2}'
    assert events_of_body(body) == list(native.items_of_body(body))
    assert len(events_of_body(b"[" + b"1," * (MOST_EVENTS - 1) + b"1]")) == MOST_EVENTS
    with pytest.raises(TooManyError):
        events_of_body(b"[" + b"1," * MOST_EVENTS + b"1]")


def test_a_gzip_body_of_very_many_members_is_refused() -> None:
    assert native.unpacked(gzipped(b"x") * 100, 1_000) == b"x" * 100
    with pytest.raises(native.UnpackError) as error:
        native.unpacked(gzipped(b"") * 200_000, 1_000)
    assert error.value.too_large


class Watched(Intake):
    """Notes what it is given, and how often others had a turn before."""

    def __init__(self, home: Home) -> None:
        super().__init__(home, FixedClock(NOW))
        self.ticks = 0
        self.slices: list[tuple[int, int, int]] = []

    def take(self, items, **named):  # type: ignore[no-untyped-def]
        self.slices.append((self.ticks, len(items), sum(len(item.raw) for item in items)))
        return super().take(items, **named)


@pytest.mark.parametrize("size", [10, 2_000, 3 * SLICE_BYTES])
def test_others_have_their_turn_between_two_slices_of_a_large_request(tmp_path: Path, size: int) -> None:
    home = Home(tmp_path)
    home.create()
    intake = Watched(home)
    items = items_of(*[json.dumps({"a": "x" * size}).encode()] * 700)[: 700 if size < SLICE_BYTES else 5]

    async def others() -> None:
        while True:
            intake.ticks += 1
            await asyncio.sleep(0)

    async def both() -> int:
        beside = asyncio.create_task(others())
        taken, entries = await Turns(intake, lambda: NOW).take(items, "http", None)
        beside.cancel()
        assert len(taken) == len(entries) == len(items)
        return intake.ticks

    asyncio.run(both())
    turns = [tick for tick, _, _ in intake.slices]
    assert len(turns) > 1
    assert all(before < after for before, after in pairwise(turns))
    assert all(n <= SLICE_ITEMS and (total <= SLICE_BYTES or n == 1) for _, n, total in intake.slices)
