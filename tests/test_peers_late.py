"""The late scenario of the join benchmark: its truth, the reductions of what peers emit, and the scores."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from benchmarks.peers.late import (
    Arrival,
    Match,
    Pair,
    Score,
    arrivals,
    entry,
    last,
    latest,
    read_pairs,
    repeats,
    score,
    truth,
)
from benchmarks.peers.load import Pairs, door_lines, log_entries
from benchmarks.peers.running import Progress, together
from edgeloop.events import Engagement, Exposure, decode
from edgeloop.identity import PSEUDONYM

_AT = datetime(2026, 3, 10, 12, tzinfo=UTC)
_H = timedelta(hours=1)


def exposure(name: str, hours: float, *, who: str = "a", model: str = "eta") -> Exposure:
    return Exposure(
        exposure_id=name, subject=who, occurred_at=_AT + hours * _H, touchpoint="t", model_id=model, model_version="1"
    )


def outcome(name: str, hours: float = 0, *, who: str = "a") -> Engagement:
    return Engagement(event_id=name, subject=who, occurred_at=_AT + hours * _H, name="order", source="app")


# Truth


def test_the_last_exposure_of_each_model_within_the_window_is_true() -> None:
    events: list[Exposure | Engagement] = [
        exposure("old", -72.001),
        exposure("first", -72),
        exposure("next", -5),
        exposure("other model", -60, model="slot"),
        exposure("after", 0.001),
        exposure("other customer", -1, who="b"),
        outcome("o"),
    ]
    assert truth(events) == {Match("o", "eta", "next"), Match("o", "slot", "other model")}
    without = [event for event in events if event.id != "next"]
    assert truth(without) == {Match("o", "eta", "first"), Match("o", "slot", "other model")}


def test_truth_does_not_know_of_order_or_of_second_deliveries() -> None:
    events: list[Exposure | Engagement] = [
        exposure("x", -1),
        exposure("y", -2),
        outcome("o"),
        outcome("p", 3),
        outcome("nobody", who="c"),
    ]
    once = truth(events)
    assert once == {Match("o", "eta", "x"), Match("p", "eta", "x")}
    assert truth([*reversed(events), *events]) == once


def test_equal_times_go_to_the_greater_id() -> None:
    assert truth([exposure("b", 0), exposure("c", 0), exposure("a", 0), outcome("o")]) == {Match("o", "eta", "c")}


def test_the_scenario_is_as_it_is_described() -> None:
    found = arrivals(2_000, 1_000, 200)
    assert found == arrivals(2_000, 1_000, 200)
    assert [one.at_ms for one in found] == sorted(one.at_ms for one in found)
    start = datetime(2026, 3, 1, tzinfo=UTC)

    def late_h(one: Arrival) -> float:
        return (start + timedelta(milliseconds=one.at_ms) - one.event.occurred_at) / _H

    first: dict[str, Arrival] = {}
    for one in found:
        first.setdefault(one.event.id, one)
    exposures = [one for one in first.values() if isinstance(one.event, Exposure)]
    assert len(exposures) == 2_000
    assert len(first) == 3_000
    late = [one for one in exposures if late_h(one) >= 1]
    assert len(late) == pytest.approx(200, abs=50)
    assert max(map(late_h, exposures)) > 7 * 24
    assert len(found) - len(first) == pytest.approx(150, abs=45)
    assert all(PSEUDONYM.fullmatch(one.event.subject) for one in found)
    # What arrives decides: whoever only looks back misses a good part of the truth.
    true = truth(one.event for one in found)
    seen: list[Exposure | Engagement] = []
    looked_back = set()
    for one in found:
        seen.append(one.event)
        if isinstance(one.event, Engagement):
            of_customer = [event for event in seen if event.subject == one.event.subject]
            looked_back |= {match for match in truth(of_customer) if match.outcome == one.event.event_id}
    assert len(true - looked_back) > 0.03 * len(true)
    assert decode(entry(found[0]).value) == found[0].event


# Reductions and scores


def test_the_reductions_differ_where_a_pair_comes_late() -> None:
    pairs = [
        Pair("o", "eta", "new", 20),
        Pair("o", "eta", "old", 10),
        Pair("o", "slot", "s", 5),
        Pair("p", "eta", "n", 1),
    ]
    others = [Match("o", "slot", "s"), Match("p", "eta", "n")]
    assert latest(pairs) == [Match("o", "eta", "new"), *others]
    assert last(pairs) == [Match("o", "eta", "old"), *others]


def test_equal_exposures_reduce_as_the_truth_breaks_ties() -> None:
    pairs = [Pair("o", "eta", "b", 1), Pair("o", "eta", "c", 1), Pair("o", "eta", "a", 1)]
    assert latest(pairs) == [Match("o", "eta", "c")]


def test_another_exposure_than_the_true_one_is_lost_and_wrong() -> None:
    true = {Match("o", "eta", "x"), Match("p", "eta", "y"), Match("q", "eta", "z")}
    assert score(true, list(true)) == Score(3, 0, 0)
    assert score(true, []) == Score(3, 3, 0)
    assert score(true, [Match("o", "eta", "x"), Match("p", "eta", "other")]) == Score(3, 2, 1)


def test_a_match_produced_twice_is_wrong_once() -> None:
    true = {Match("o", "eta", "x")}
    assert score(true, [Match("o", "eta", "x")] * 2) == Score(1, 0, 1)
    assert score(true, [Match("o", "eta", "other")] * 2) == Score(1, 1, 2)


def test_repeats_are_pairs_emitted_again() -> None:
    once = [Pair("o", "eta", "x", 1), Pair("o", "eta", "y", 2)]
    assert repeats(once) == 0
    assert repeats([*once, *once, once[0]]) == 3


def test_what_all_processes_wrote_is_read(tmp_path: Path) -> None:
    (tmp_path / "matches.7").write_text('["o", "eta", "x", 5]\n["o", "eta", "y", 6]\n')
    (tmp_path / "matches.8").write_text('["p", "slot", "z", 7]\n')
    (tmp_path / "stderr-0").write_text("no match\n")
    expected = [Pair("o", "eta", "x", 5), Pair("o", "eta", "y", 6), Pair("p", "slot", "z", 7)]
    assert read_pairs(tmp_path / "matches") == expected


# The load, and what processes tell


def test_pairs_are_counted_within_the_window_alone() -> None:
    pairs = Pairs(72)
    exposures = [exposure("x", -72), exposure("y", -72.001), exposure("z", 0), exposure("after", 0.001)]
    events: list[Exposure | Engagement] = [*exposures, outcome("o")]
    assert list(pairs.watch([[entry(Arrival(0, event)) for event in events]]))
    assert pairs.count() == 2


def test_the_load_is_two_exposures_to_one_engagement_in_order_of_time() -> None:
    blocks = list(log_entries(door_lines(3_000)))
    events = [decode(one.value) for block in blocks for one in block]
    assert len(events) == 3_000
    exposures = [event for event in events if isinstance(event, Exposure)]
    assert len(exposures) == pytest.approx(2_000, abs=90)
    assert all(isinstance(event, Exposure | Engagement) for event in events)
    assert [event.occurred_at for event in events] == sorted(event.occurred_at for event in events)
    assert not any(event.courier for event in exposures)
    assert all(event.energy_mj is not None and event.delivery_id for event in exposures)
    with_couriers = [decode(one.value) for block in log_entries(door_lines(100, couriers=True)) for one in block]
    assert all(event.courier for event in with_couriers if isinstance(event, Exposure))


def test_a_partition_read_again_by_another_process_counts_once() -> None:
    one = {"records": 30, "joined": 3, "first": 5.0, "at": 7.0, "positions": {"t/0": 10, "t/1": 20}}
    other = {"records": 25, "joined": 4, "first": 6.0, "at": 9.0, "positions": {"t/1": 25}}
    assert together([one, other]) == Progress(records=35, joined=7, first=5.0, at=9.0)
    assert together([]) == Progress()
    assert together([{"records": 8, "joined": 1, "first": 1.0, "at": 2.0, "dropped": 3}]).records == 8
