"""The pack for the monthly meeting: an hour that fits, lines that say what the data say, real incidents only."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

import reports
from analysis import Analysis
from edgeloop.clock import DAY_US, SECOND_US
from edgeloop.months import Month
from edgeloop.roles import Holder, Responsibility
from edgeloop.store.freeze import Freeze
from edgeloop.store.rows import Check
from reports import agenda, checklist, complexity, incidents
from reports.findings import Decision, Findings, Incident, Workshop
from reports.workshop import open_actions
from tests import report_fixture as fixture
from tests.test_report import Page

MARCH = Month.parse("2026-03", "Europe/Berlin")


def pack_of(freeze: Freeze, analysis: Analysis | None = None) -> tuple[Findings, Workshop]:
    found = analysis or fixture.analysed(freeze)
    findings = reports.build(freeze, found)
    return findings, reports.workshop(freeze, found, findings)


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> tuple[Freeze, Analysis, Findings, Workshop]:
    freeze = fixture.write(tmp_path_factory.mktemp("workshop") / "2026-03", fixture.frames())
    analysis = fixture.analysed(freeze)
    return freeze, analysis, *pack_of(freeze, analysis)


def with_manifest(freeze: Freeze, **changed: Any) -> Freeze:
    other = Freeze(freeze.path)
    other.manifest = msgspec.structs.replace(freeze.manifest, **changed)
    return other


def test_the_hour_holds_what_was_decided_and_who_leads(month: Any) -> None:
    _, _, findings, pack = month
    items = pack.agenda
    assert [i.at for i in items] == [sum(j.minutes for j in items[:n]) for n in range(len(items))]
    assert items[-1].at + items[-1].minutes <= agenda.HOUR
    asked = [(d.action, d.owner) for d in findings.decisions]
    assert [(i.what, i.who) for i in items if (i.what, i.who) in asked] == asked
    assert all(i.who for i in items)


@pytest.mark.parametrize("n", [0, 1, 3, 4, 5, 8, 12, 40])
@pytest.mark.parametrize("verdict", ["roll back", "promote", "keep testing"])
def test_the_hour_is_never_longer_and_drops_no_decision(month: Any, n: int, verdict: str) -> None:
    _, _, findings, pack = month
    one: Decision = msgspec.structs.replace(findings.decisions[0], verdict=verdict)
    asked = tuple(msgspec.structs.replace(one, action=f"decide {i}") for i in range(n))
    many = [pack.incidents[0]] * 9
    items = agenda.agenda(
        msgspec.structs.replace(findings, decisions=asked), 3, many, pack.models, pack.pillars, {}
    )  # fmt: skip
    assert sum(i.minutes for i in items) <= agenda.HOUR
    own = sum(i.what.startswith("decide ") for i in items)
    folded = [int(found[1]) for i in items if (found := re.match(r"(\d+) more decisions?, agreed", i.what))]
    assert own + sum(folded) == n
    assert own > 0 or n == 0


def test_each_line_of_the_checklists_against_figures_taken_by_hand(month: Any) -> None:
    freeze, analysis, findings, pack = month
    lines = {line.what: line for pillar in pack.pillars for line in pillar.lines}
    x = freeze.frame("exposures")
    x = x[(x["occurred_at"] >= MARCH.start_us) & (x["occurred_at"] < MARCH.end_us)]
    slow = heavy = n = 0
    for _, rows in x.groupby(["model_id", "model_version"]):
        n += 1
        slow += bool(np.quantile(rows["latency_ms"], 0.95) > 500)
        heavy += bool(rows["features"].max() > 10)
    assert slow > 0
    assert lines["Latency p95 of each version"].figure == f"{n - slow} of {n} keep it"
    assert lines["Features of each version"].figure == f"{n - heavy} of {n} keep it"
    assert lines["Latency p95 of each version"].state == lines["Features of each version"].state == "needs a person"
    late = seen = 0
    for table in ("exposures", "responses", "engagement"):
        rows = freeze.frame(table)
        for at, received in zip(rows["occurred_at"], rows["received_at"], strict=True):
            if MARCH.start_us <= at < MARCH.end_us:
                seen += 1
                late += received - at > DAY_US
    assert lines["Events more than a day late"].figure.startswith(f"{late / seen:.1%}".replace("%", "\u00a0%"))
    assert lines["Profile parity, cloud and edge"].state == "not known"
    switched = sum(c.kind == "switch" for c in analysis.changes)
    assert lines["New versions brought in for everybody at once"].figure == f"{switched} of {len(analysis.changes)}"
    named = sum(r.named for r in findings.feedback.sides)
    assert lines["Answers named in a decision"].figure.startswith(f"{named:,} of ")
    assert lines["Decisions with a person who answers for them"].figure == "1 of 3"


def test_the_table_of_models_is_what_the_exposures_hold(month: Any) -> None:
    freeze, _, _, pack = month
    x = freeze.frame("exposures")
    this = x[(x["occurred_at"] >= MARCH.start_us) & (x["occurred_at"] < MARCH.end_us)]
    assert len(pack.models) == len(this.drop_duplicates(["model_id", "model_version"]))
    for m in pack.models:
        own = this[(this["model_id"] == m.model_id) & (this["model_version"] == m.version)]
        assert m.exposures == f"{len(own):,}"
        assert m.p50 == f"{np.median(own['latency_ms']):,.0f}\u00a0ms"
        assert m.p95 == f"{np.quantile(own['latency_ms'], 0.95):,.0f}\u00a0ms"
        assert m.errors == f"{own['error'].notna().mean() * 100:.2f}\u00a0%"
        assert m.energy == "not told"
        assert (m.p95_before == "") == m.new


@pytest.mark.parametrize(("now", "state"), [(3.0, "ok"), (3.2, "ok"), (3.4, "needs a person"), (None, "not known")])
def test_energy_is_set_against_the_month_before(now: float | None, state: str) -> None:
    x = fixture.frames()["exposures"].assign(energy_mj=3.0)
    x.loc[x["occurred_at"] >= MARCH.start_us, "energy_mj"] = np.nan if now is None else now
    pillar = checklist.model_pillar(x, Analysis([], [], []), complexity.complexity(x, MARCH), MARCH, {})
    assert next(line.state for line in pillar.lines if line.what == "Energy per exposure") == state


def test_who_holds_a_role_is_named(month: Any) -> None:
    freeze, analysis, _, _ = month
    holders = {"data_engineer": Holder("Ana <Silva>"), "data_analyst": Holder("Bo Ek"), "devops_lead": Holder("Cy")}
    named = with_manifest(freeze, responsibility=Responsibility(holders=holders))
    _, pack = pack_of(named, analysis)
    lines = {line.what: line for pillar in pack.pillars for line in pillar.lines}
    assert lines["Inputs that could not be taken"].who == "Ana <Silva> (data engineer)"
    assert lines["Sources that went quiet"].who == "Ana <Silva> (data engineer) with IT lead"
    assert lines["Decisions with a person who answers for them"].state == "ok"
    assert "Ana <Silva>" not in reports.render_workshop(pack)
    assert "Ana &lt;Silva&gt;" in reports.render_workshop(pack)


def spoken(days: int, per_day: int, silent: set[int], *, weekdays: bool = False) -> tuple[pd.Series, list[dt.date]]:
    first = dt.date(2026, 2, 2)  # a Monday
    at = [
        round(dt.datetime.combine(first + dt.timedelta(days=d), dt.time(8), dt.UTC).timestamp()) * SECOND_US + i
        for d in range(days)
        if d not in silent and not (weekdays and d % 7 > 4)
        for i in range(per_day)
    ]
    return pd.Series(at, dtype="int64"), [first + dt.timedelta(days=d) for d in range(days)]


@pytest.mark.parametrize(
    ("per_day", "silent", "weekdays", "found"),
    [
        (20, {30, 31}, False, [30, 31]),
        (20, {55, 54, 53}, False, [53, 54, 55]),
        (2, {30}, False, []),  # so few that an empty day is chance
        (20, set(), True, []),  # it never speaks on weekends
        (20, {31}, True, [31]),
        (0, set(), False, []),
    ],
)
def test_a_source_is_quiet_where_it_is_no_chance_and_no_custom(
    per_day: int, silent: set[int], weekdays: bool, found: list[int]
) -> None:
    at, days = spoken(56, per_day, silent, weekdays=weekdays)
    assert incidents.silent_days(at, days, "UTC") == [days[i] for i in found]


def test_what_went_wrong_is_told_with_its_time_and_its_role(tmp_path: Path) -> None:
    tables = fixture.frames()
    engagement = tables["engagement"]
    quiet = engagement["occurred_at"].between(fixture.at(3, 12), fixture.at(3, 14) - 1)
    tables["engagement"] = engagement[~quiet].reset_index(drop=True)
    rng = np.random.default_rng(1)
    sent = np.sort(rng.integers(fixture.at(2, 1), fixture.at(4, 1), 4_000))
    delay = np.where((sent >= fixture.at(3, 20)) & (sent < fixture.at(3, 21)), 900, 2) * SECOND_US
    tables["telemetry"] = pd.DataFrame(
        {
            "telemetry_id": [f"t{i}" for i in range(len(sent))], "site": "hub", "kind": "message",
            "occurred_at": sent, "received_at": sent, "message_sent_at": sent, "message_delivered_at": sent + delay,
        }
    )  # fmt: skip
    changes = tables["changes"]
    changes.loc[changes["change_id"] == "eta-2.0", ["kind", "from_version"]] = ["rollback", "1.9"]
    freeze = fixture.write(tmp_path / "wrong", tables)
    refused = {f"2026-03-{day:02d}": 2 for day in range(1, 28)} | {"2026-03-09": 400}
    freeze.manifest = msgspec.structs.replace(freeze.manifest, refused=refused)
    sound = fixture.analysed(freeze)
    broken = Check(freeze_id="f", month="2026-03", change_id="promo-card-2.1", check="srm", state="block", p=1e-9)
    analysis = Analysis(sound.changes, sound.estimates, [*sound.checks, broken], sound.metrics)
    _, pack = pack_of(freeze, analysis)
    told: dict[str, Incident] = {i.what: i for i in pack.incidents}
    quiet_one = told["Went quiet: engagement from mixpanel"]
    assert (quiet_one.when, quiet_one.open) == ("13 March 2026", False)  # the 12th begins at 23 h UTC in Berlin
    assert told["Messages reached the edge late"].when.startswith("20 March 2026")
    assert "900\u00a0s" in told["Messages reached the edge late"].detail
    assert told["Many inputs were refused"].when == "9 March 2026"
    assert "400" in told["Many inputs were refused"].detail
    assert told["Rolled back: eta-promise to 2.0"].who == "DevOps lead"
    assert told["Data of “Bigger promotion card” in doubt"].who == "Data engineer"
    assert told["Over budget: eta-promise 2.0"].open
    assert not told["Over budget: eta-promise 1.9"].open
    lines = {line.what: line for pillar in pack.pillars for line in pillar.lines}
    assert (lines["Sources that went quiet"].figure, lines["Sources that went quiet"].state) == ("1", "needs a person")
    assert lines["Inputs that could not be taken"].figure == str(sum(refused.values()))
    assert lines["Messages reach the edge in time (p95)"].state == "needs a person"
    assert lines["Comparisons stopped by their data"].figure == "1"
    order = [i.open for i in pack.incidents]
    assert order == sorted(order, reverse=True)


def test_an_empty_month_has_its_pack(tmp_path: Path) -> None:
    _, pack = pack_of(fixture.write(tmp_path / "empty", {}))
    page = Page(reports.render_workshop(pack))
    assert pack.title == "1 line to look at"
    assert (pack.incidents, pack.models) == ((), ())
    assert "None: no alarm of the data" in page.text
    assert "nan" not in page.text.lower().split()
    states = [line.state for pillar in pack.pillars for line in pillar.lines]
    assert states.count("not known") > len(states) / 2


def test_the_pack_stands_alone_and_hostile_text_is_inert(tmp_path: Path) -> None:
    tables = fixture.frames(remark=fixture.HOSTILE)
    tables["changes"]["title"] = fixture.HOSTILE
    tables["exposures"]["model_version"] = tables["exposures"]["model_version"] + fixture.HOSTILE
    tables["responses"]["source"] = tables["answers"]["source"] = fixture.HOSTILE
    tables["answers"]["question"] = tables["answers"]["question"] + "\u202e" + fixture.HOSTILE
    freeze = fixture.write(tmp_path / "hostile", tables)
    freeze.manifest = msgspec.structs.replace(freeze.manifest, company=fixture.HOSTILE)
    findings, pack = pack_of(freeze)
    for html in (reports.render_workshop(pack), reports.render(findings)):
        page = Page(html)
        assert not {"script", "img", "link", "iframe", "form"} & {tag for tag, _ in page.tags}
        assert not any(name == "style" or name.startswith("on") for _, attrs in page.tags for name in attrs)
        assert len(page.all("h1")) == 1
        assert "{{ 7 * 7 }}" in page.text
        assert len(html.encode()) < 300_000
        policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy") or ""
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
        assert len(ids) == len(set(ids))
        assert all(attrs.get("scope") in ("col", "row") for attrs in page.all("th"))


BYTES = """
import hashlib, sys
from pathlib import Path
import reports
from edgeloop.app.monthly import analyse_freeze
from edgeloop.store.freeze import Freeze
freeze = Freeze(Path(sys.argv[1]))
analysis = analyse_freeze(freeze)
findings = reports.build(freeze, analysis)
page = reports.render(findings) + reports.render_workshop(reports.workshop(freeze, analysis, findings))
print(hashlib.sha256(page.encode()).hexdigest())
"""


def test_the_same_freeze_gives_the_same_bytes_wherever_it_is_read(month: Any) -> None:
    freeze, *_ = month
    root = str(Path(__file__).resolve().parents[1])
    found = set()
    for seed, zone, locale in (("0", "UTC", "C"), ("4711", "Asia/Tokyo", "de_DE.UTF-8")):
        environ = {**os.environ, "PYTHONHASHSEED": seed, "TZ": zone, "LC_ALL": locale, "PYTHONPATH": root}
        done = subprocess.run(
            [sys.executable, "-c", BYTES, str(freeze.path)], env=environ, capture_output=True, text=True, check=True,
            timeout=120,
        )  # fmt: skip
        found.add(done.stdout.strip())
    assert len(found) == 1
    assert len(found.pop()) == len(hashlib.sha256().hexdigest())


def test_open_actions_are_those_of_last_month_only() -> None:
    rows = [("2026-02", "proposed"), ("2026-02", "accepted"), ("2026-02", "done"), ("2026-01", "proposed")]
    actions = pd.DataFrame(rows, columns=["month", "state"])
    assert open_actions(actions, MARCH) == 2
    assert open_actions(actions[:0], MARCH) is None
    assert open_actions(None, MARCH) is None
