"""A canary that won and was then given to everybody is one change: measured once, asked once, and done."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

from analysis import ALL_METRICS, Analysis, analyse
from edgeloop.app.asked import answer, listed
from edgeloop.app.asked import history as histories
from edgeloop.app.cli import run as cli
from edgeloop.clock import DAY_US, HOUR_US, iso, to_us
from edgeloop.home import Home
from edgeloop.metrics import MetricSettings
from edgeloop.months import Month
from edgeloop.settings import load
from edgeloop.store.facts import PromotedAfter, RolledBackAfter
from edgeloop.store.freeze import Freeze
from edgeloop.store.opening import open_store
from edgeloop.store.rows import Bar, Estimate, MeasuredBefore
from reports import build
from tests import report_fixture, small_company
from tests.frames import COLUMNS, LATER, MARCH, World, at, frames, together, trial
from tests.test_actions_store import action

APRIL = Month.parse("2026-04", "UTC")
METRICS = {"rebooked": MetricSettings(role="goal", headline=True, event="rebooked", window_h=48.0)}


def everybody(version: str, first: float, last: float, share: float, seed: int, per_day: int = 250) -> dict[str, Any]:
    """Exposures without a rollout, and one event a person by chance."""
    rng = np.random.default_rng(seed)
    n = round((last - first) * per_day)
    entry = at(first) + (rng.random(n) * (last - first) * DAY_US).astype(np.int64)
    subject = np.array([f"{version}-{seed}-{i:05d}" for i in range(n)])
    exposures = pd.DataFrame(
        {"exposure_id": subject, "subject": subject, "occurred_at": entry, "anonymous": 0, "model_id": "eta",
         "model_version": version, "arm": "stable"}
    )  # fmt: skip
    did = rng.random(n) < share
    engagement = pd.DataFrame(
        {"event_id": subject, "subject": subject, "occurred_at": entry + HOUR_US, "name": "rebooked", "anonymous": 0}
    )[did]
    tables = frames() | {"exposures": exposures, "engagement": engagement}
    return {name: frame.reindex(columns=list(COLUMNS[name])) for name, frame in tables.items()}


def history(*, declared: bool, canary: bool = True, from_version: str | None = "v1") -> dict[str, pd.DataFrame]:
    """February on v1; a canary of v2 from 1 to 14 March (+9 points); everybody on v2 from 15 March on."""
    world = World()
    if canary:
        world.declare(
            0, assignment="random", allocation={"v1": 0.5, "v2": 0.5}, planned_units=4_000, ended_at=at(14), title="ETA"
        )
    if declared:
        world.declare(14, "switch", change_id="all", rollout_id=None, from_version=from_version, title="ETA for all")
    parts = [everybody("v1", -28, 0 if canary else 14, 0.2, 1), everybody("v2", 14, 61, 0.29, 2), world.tables()]
    if canary:
        parts.append(trial(3, event=(0.2, 0.29)))
    found = together(*parts)
    found["exposures"] = found["exposures"].sort_values("occurred_at", ignore_index=True)
    return found


def run(tables: Mapping[str, pd.DataFrame], month: Month = MARCH, **options: Any) -> Analysis:
    return analyse(tables, month, freeze_id="f", as_of_us=LATER, **{"metrics": METRICS, **options})


def of(found: Analysis, change_id: str) -> list[Estimate]:
    return [e for e in found.estimates if e.change_id == change_id]


def version_bars(found: Analysis) -> list[Bar]:
    return [b for b in found.bridge if b.bar == "version"]


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "found in the exposures"])
def test_the_switch_is_the_last_stage_of_the_canary(declared: bool) -> None:
    found = run(history(declared=declared))
    switch = next(c for c in found.changes if c.kind == "switch")
    test = next(e for e in of(found, "c0") if e.metric == "rebooked")
    assert (test.verdict, test.grade) == ("promote", "randomised")
    rows = of(found, switch.change_id)
    assert {e.verdict for e in rows} == {None}
    (fact,) = rows[0].facts
    assert rows[0].metric == ALL_METRICS
    assert fact == PromotedAfter(
        "c0", "2026-03-15", "rebooked", test.effect or 0, test.decision_low, test.decision_high, "randomised"
    )
    assert "promoted on 2026-03-15 after a random test (c0): rebooked +0.0" in str(rows[0].reason)
    assert found.promoted == {switch.change_id: fact}
    assert switch.change_id not in found.rulings
    assert all(e.decided_by is None for e in rows)  # before and after are description, in no family


def test_the_bridge_takes_the_test_once_with_its_interval() -> None:
    found = run(history(declared=True))
    test = next(e for e in of(found, "c0") if e.metric == "rebooked")
    (bar,) = version_bars(found)
    assert bar.change_id == "c0"
    share = bar.value / (test.effect or 1)
    assert 0.5 < share < 1  # of the month's people: half of the canary's, all of those after it
    assert (bar.low, bar.high) == pytest.approx((share * (test.effect_low or 0), share * (test.effect_high or 0)))
    assert found.unnamed == []


def measured(found: Analysis) -> list[MeasuredBefore]:
    names = MeasuredBefore.__struct_fields__
    return [MeasuredBefore(**{n: getattr(e, n) for n in names}) for e in of(found, "c0") if e.decided_by is not None]


def fatal() -> dict[str, pd.DataFrame]:
    """Of 14 people with the new version none rebooks, of 1,386 nearly all; and then everybody got it."""
    world = World()
    world.declare(0, assignment="random", allocation={"v1": 0.99, "v2": 0.01}, ended_at=at(14), title="ETA")
    world.declare(14, "switch", change_id="all", rollout_id=None, from_version="v1", title="ETA for all")
    tables = together(
        everybody("v1", -28, 0, 0.95, 1), everybody("v2", 14, 61, 0.0, 2),
        trial(3, n=1_400, share=0.01, event=(0.95, 0.0)), world.tables(),
    )  # fmt: skip
    tables["exposures"] = tables["exposures"].sort_values("occurred_at", ignore_index=True)
    return tables


def test_a_test_that_rare_events_end_was_a_test() -> None:
    """Rolled back without an interval."""
    found = run(fatal())
    test = next(e for e in of(found, "c0") if e.metric == "rebooked")
    assert (test.verdict, test.decided_by) == ("roll back", None)
    fact = found.promoted["all"]
    assert (fact.metric, fact.low, fact.high) == ("rebooked", None, None)
    assert fact.english.endswith("(no range can be told); nothing is asked again")
    assert {e.verdict for e in of(found, "all")} == {None}


@pytest.mark.parametrize("language", ["en", "de", "fr", "pt"])
def test_what_is_with_everybody_and_did_worse_is_asked_back_once(language: str, tmp_path: Path) -> None:
    tables = fatal()
    told = report_fixture.write(tmp_path / "freeze", tables, provisional=False, metrics=METRICS, timezone="UTC")
    look = msgspec.structs.replace(told.manifest.look, locale=language)
    freeze = report_fixture.write(
        tmp_path / "spoken", tables, provisional=False, metrics=METRICS, timezone="UTC", look=look
    )
    page = build(freeze, report_fixture.analysed(freeze))
    assert page.failures == ()
    assert [(d.change_id, d.verdict) for d in page.decisions] == [("c0", "roll back")]
    blocks = {c.change_id: c for c in page.changes}
    assert (blocks["c0"].verdict, blocks["c0"].promoted) == ("roll back", "")
    assert blocks["all"].verdict is None
    assert "∞" not in blocks["all"].summary
    if language == "en":
        assert blocks["all"].summary.startswith("Promoted on 15 March 2026 after a random test: rebooked −")
        (row,) = [e for e in blocks["c0"].effects if e.metric == "rebooked"]
        assert not row.notes[0].startswith("Too early")


def later(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The same where everybody got it in April, and the canary's exposures are no longer in the freeze."""
    moved = {name: frame.copy() for name, frame in tables.items()}
    x = moved["exposures"]
    late = x["model_version"].eq("v2") & x["rollout_id"].isna() & (x["occurred_at"] < at(40))
    x.loc[late, "model_version"] = "v1"
    moved["exposures"] = x[x["rollout_id"].isna()].reset_index(drop=True)
    c = moved["changes"]
    c.loc[c["change_id"] == "all", "occurred_at"] = at(40)
    return moved


def test_a_canary_of_an_earlier_month_is_known_from_its_final_report() -> None:
    tables = history(declared=True)
    before = measured(run(tables))
    found = run(later(tables), APRIL, before=before)
    fact = found.promoted["all"]
    assert (fact.change_id, fact.day, fact.metric, fact.effect) == ("c0", "2026-04-10", "rebooked", before[0].effect)
    (bar,) = version_bars(found)
    assert bar.value > 0
    assert bar.low is not None
    assert {e.verdict for e in of(found, "all")} == {None}
    without = run(later(tables), APRIL)
    assert without.promoted == {}
    assert {e.verdict for e in of(without, "all")} == {"keep testing"}


def test_reports_of_the_month_itself_or_later_tell_nothing() -> None:
    """Last month estimated again knows only what was known before it."""
    tables = history(declared=True)
    rows = [msgspec.structs.replace(row, month="2026-04") for row in measured(run(tables))]
    assert run(later(tables), APRIL, before=rows).promoted == {}


@pytest.mark.parametrize(
    ("tables", "why"),
    [
        (history(declared=True, canary=False), "no test"),
        (history(declared=True, from_version="v0"), "from another version"),
    ],
    ids=["no test", "another step"],
)
def test_other_switches_are_asked_as_before(tables: dict[str, pd.DataFrame], why: str) -> None:
    found = run(tables)
    assert found.promoted == {}, why
    assert {e.verdict for e in of(found, "all")} == {"keep testing"}


@pytest.mark.parametrize("language", ["en", "de", "fr", "pt"])
def test_the_page_says_that_it_is_done_and_asks_nothing(language: str, tmp_path: Path) -> None:
    tables = history(declared=True)
    freeze = report_fixture.write(tmp_path / "freeze", tables, provisional=False, metrics=METRICS, timezone="UTC")
    look = msgspec.structs.replace(freeze.manifest.look, locale=language)
    freeze = report_fixture.write(
        tmp_path / "spoken", tables, provisional=False, metrics=METRICS, timezone="UTC", look=look
    )
    found = report_fixture.analysed(freeze)
    page = build(freeze, found)
    assert page.failures == ()
    assert page.decisions == ()
    assert page.open_tests == ()
    blocks = {c.change_id: c for c in page.changes}
    assert blocks["all"].verdict is None
    assert blocks["all"].promoted
    if language != "en":
        return
    assert page.nothing_asked == "No decision is asked: what the figures ask for is done already."
    said = blocks["all"].summary
    assert said.startswith("Promoted on 15 March 2026 after a random test: rebooked +")
    assert "pp (range +" in said
    assert said in page.brief[1].text
    assert "Promoted on 15 March 2026: everybody has this version since." in blocks["c0"].notes
    bar = next(b for b in page.bridge.bars if b.kind == "version")
    assert (bar.label, bar.hatched) == ("“ETA”", False)


@pytest.fixture(scope="module")
def promoted_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """March's canary is asked to be promoted; in April everybody gets it, and nobody answers."""
    home = small_company.make_frozen(tmp_path_factory.mktemp("promoted") / "home")
    assert cli(["report", "--month", "2026-03", "--home", str(home)]) == 0
    asked = [
        action(
            i, action_id=f"promote{i}", month="2026-03", change_id="rebook-2.1", model_id="rebook", from_version="2.0",
            to_version="2.1", verdict="promote", occurred_at=april(2), due="2026-04-10",
        )
        for i in range(3)
    ]  # fmt: skip
    opened, settings = Home(home), load(home, {})
    with closing(open_store(opened, settings)) as store:
        store.add_actions(asked, "report")
    answer(opened, settings, "promote1", "accepted", "ana", whole=True)
    answer(opened, settings, "promote2", "dropped", "ana", reason="too dear", whole=True)
    more: list[dict[str, Any]] = [
        {"type": "change", "change_id": "all", "occurred_at": stamp(april(8)), "model_id": "rebook",
         "from_version": "2.0", "to_version": "2.1", "kind": "switch", "title": "One-tap rebooking for all"}
    ]  # fmt: skip
    for i in range(400):
        when = april(1) + i * 100 * 60_000_000
        more.append(
            {"type": "exposure", "exposure_id": f"late-{i}", "customer_id": f"A-{i}", "occurred_at": stamp(when),
             "touchpoint": "app_card", "model_id": "rebook", "model_version": "2.1" if when >= april(8) else "2.0",
             "arm": "stable"}
        )  # fmt: skip
    more.append(
        {"type": "engagement", "event_id": "later", "customer_id": "C-late", "occurred_at": stamp(april(52)),
         "name": "order_placed", "source": "app", "value": 10.0, "currency": "EUR"}
    )  # fmt: skip
    small_company.add(home, more)
    return home


def april(day: int) -> int:
    """µs of a day of April 2026, UTC; beyond 30 it goes on."""
    return to_us(datetime(2026, 4, 1, tzinfo=UTC)) + (day - 1) * DAY_US


def stamp(us: int) -> str:
    return iso(us)


def states(home: Path) -> dict[str, tuple[str, str | None]]:
    found = listed(Home(home), load(home, {}))
    return {a.action_id: (a.state, a.reason) for a in found if a.action_id.startswith("promote")}


def test_the_open_action_closes_itself_and_no_answer_is_undone(promoted_home: Path) -> None:
    before = {"promote0": ("proposed", None), "promote1": ("accepted", None), "promote2": ("dropped", "too dear")}
    assert states(promoted_home) == before
    assert cli(["report", "--month", "2026-04", "--home", str(promoted_home)]) == 0
    assert states(promoted_home) == before  # a look at a month that is not frozen closes nothing
    assert cli(["freeze", "--month", "2026-04", "--home", str(promoted_home)]) == 0
    for _ in range(2):  # made again, the same report changes nothing
        assert cli(["report", "--month", "2026-04", "--home", str(promoted_home)]) == 0
        assert states(promoted_home) == {
            "promote0": ("done", "promoted on 8 April 2026"),
            "promote1": ("done", "promoted on 8 April 2026"),
            "promote2": ("dropped", "too dear"),
        }
    steps = histories(Home(promoted_home), load(promoted_home, {}))
    assert [(s.state, s.who) for s in steps["promote0"]] == [
        ("proposed", "report"), ("accepted", "report"), ("done", "report"),
    ]  # fmt: skip
    assert [(s.state, s.who) for s in steps["promote1"]][1:] == [("accepted", "ana"), ("done", "report")]


def test_the_freeze_keeps_what_the_test_showed(promoted_home: Path) -> None:
    freeze = Freeze(promoted_home / "freezes" / "2026-04")
    kept = freeze.manifest.measured
    assert {(row.month, row.change_id, row.model_id, row.to_version) for row in kept} == {
        ("2026-03", "rebook-2.1", "rebook", "2.1")
    }
    assert {row.grade for row in kept} == {"randomised"}
    assert Freeze(promoted_home / "freezes" / "2026-03").manifest.measured == []
    page = (promoted_home / "reports" / "2026-04.html").read_text(encoding="utf-8")
    assert "Promoted on 8 April 2026 after a random test: " in page
    assert "Hold back" not in page


def taken_back(*, again: bool = False, declared: bool = True) -> dict[str, pd.DataFrame]:
    """Two weeks of a canary of v2 that does harm, then v1 for everybody; with ``again`` a better try from day 18."""
    world = World()
    rollout = {"assignment": "random", "allocation": {"v1": 0.5, "v2": 0.5}, "planned_units": 2_000}
    world.declare(0, ended_at=at(14), **rollout)
    if declared:
        world.declare(14, "rollback", change_id="back", from_version="v2", to_version="v1")
    parts = [
        everybody("v1", -28, 0, 0.3, 1),
        trial(3, event=(0.3, 0.2)),
        everybody("v1", 14, 18 if again else 40, 0.3, 2),
    ]
    if again:
        world.declare(18, change_id="c1", **rollout)
        later = trial(4, event=(0.3, 0.4))
        for name in ("exposures", "engagement"):
            later[name]["occurred_at"] += 18 * DAY_US
            for column in {"exposure_id", "event_id", "subject"} & {*later[name].columns}:
                later[name][column] = "again-" + later[name][column].astype(str)
        parts.append(later)
    found = together(*parts, world.tables())
    found["exposures"] = found["exposures"].sort_values("occurred_at", ignore_index=True)
    return found


@pytest.mark.parametrize("declared", [True, False], ids=["rollback", "ended"])
@pytest.mark.parametrize("language", ["en", "de", "fr", "pt"])
def test_a_harm_that_is_over_is_told_and_not_asked(language: str, declared: bool, tmp_path: Path) -> None:
    tables = taken_back(declared=declared)
    told = report_fixture.write(tmp_path / "freeze", tables, provisional=False, metrics=METRICS, timezone="UTC")
    look = msgspec.structs.replace(told.manifest.look, locale=language)
    freeze = report_fixture.write(
        tmp_path / "spoken", tables, provisional=False, metrics=METRICS, timezone="UTC", look=look
    )
    page = build(freeze, report_fixture.analysed(freeze))
    assert page.failures == ()
    assert page.decisions == ()
    blocks = {c.change_id: c for c in page.changes}
    assert blocks["c0"].verdict == "roll back"
    if declared:
        assert blocks["back"].verdict is None
        assert blocks["back"].promoted
    if language == "en":
        assert blocks["c0"].summary.endswith("It ended on 14 March 2026, and nobody meets the new version any more.")
        assert page.title == "Nothing to decide for March 2026: what was tried is no longer in use"


def test_the_way_back_tells_what_it_undid_and_ends_where_the_next_try_begins() -> None:
    found = run(taken_back(again=True))
    changes = {c.change_id: c for c in found.changes}
    assert changes["c0"].title.endswith("2026-03-19")
    assert changes["back"].end_us == at(18)
    fact = found.promoted["back"]
    assert isinstance(fact, RolledBackAfter)
    assert fact.effect < -0.05  # the first try's, not the second's
    assert found.rulings["c0"].verdict == "promote"
    assert "back" not in found.rulings


def test_a_version_that_somebody_still_meets_is_asked_back(tmp_path: Path) -> None:
    tables = taken_back(declared=False)
    x = tables["exposures"]
    late = x["occurred_at"].ge(at(14)) & (np.arange(len(x)) % 20 == 0)
    x.loc[late, "model_version"] = "v2"
    freeze = report_fixture.write(tmp_path, tables, provisional=False, metrics=METRICS, timezone="UTC")
    page = build(freeze, report_fixture.analysed(freeze))
    assert [d.verdict for d in page.decisions] == ["roll back"]
