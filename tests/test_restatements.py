"""What moved since last month's report: what was printed is kept in the next freeze, beside it the same month now."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest

import reports
from edgeloop.app.cli import run
from edgeloop.app.monthly import analyse_freeze
from edgeloop.app.publish import rendered
from edgeloop.home import Home
from edgeloop.store.freeze import MANIFEST, Freeze, Manifest
from edgeloop.store.rows import Estimate
from tests import small_company as company
from tests.report_fixture import analysed

APRIL = "2026-04"


def shell(home: Path, *arguments: str) -> None:
    assert run([*arguments, "--home", str(home)]) == 0, arguments


def record(home: Path, month: str) -> reports.Record:
    return msgspec.json.decode((home / "reports" / f"{month}.json").read_bytes(), type=reports.Record)


def april() -> list[dict[str, Any]]:
    """People who meet either version in April, so that there is a month to bridge to."""
    made: list[dict[str, Any]] = []
    for i in range(company.CUSTOMERS, company.CUSTOMERS + 300):
        at = datetime(2026, 4, 6, 8, tzinfo=UTC) + timedelta(days=i % 7, minutes=i)
        who = {"customer_id": f"C-{i:04d}"}
        new = i % 2 == 0
        made.append(
            {
                "type": "exposure", "exposure_id": f"x-{i}", **who, "occurred_at": company._time(at),
                "touchpoint": "app_card", "model_id": "rebook", "model_version": "2.1" if new else "2.0",
                "arm": "canary" if new else "stable", "rollout_id": "rebook-march", "latency_ms": 200.0,
            }
        )  # fmt: skip
        if i % 3 == 0:
            made.append(company._event(f"r-{i}", who, at + timedelta(hours=3), "slot_rebooked"))
        made.append(company._event(f"o-{i}", who, at + timedelta(hours=20), "order_placed", 30.0))
    made.append(company._event("later", {"customer_id": "C-x"}, datetime(2026, 5, 25, tzinfo=UTC), "order_placed", 1.0))
    return made


def february() -> list[dict[str, Any]]:
    """People who meet the old version in February, a third of whom order."""
    made: list[dict[str, Any]] = []
    for i in range(5_000, 5_300):
        at = datetime(2026, 2, 3, 8, tzinfo=UTC) + timedelta(days=i % 14, minutes=i % 60)
        who = {"customer_id": f"C-{i:04d}"}
        made.append(
            {
                "type": "exposure", "exposure_id": f"x-{i}", **who, "occurred_at": company._time(at),
                "touchpoint": "app_card", "model_id": "rebook", "model_version": "2.0", "arm": "stable",
            }
        )  # fmt: skip
        if i % 3 == 0:
            made.append(company._event(f"o-{i}", who, at + timedelta(hours=3), "order_placed", 20.0))
    return made


def late() -> list[dict[str, Any]]:
    """What came after March's report: rebookings and orders under the old version, more complaints under the new."""
    made = []
    for i in range(company.CUSTOMERS):
        who, at = {"customer_id": f"C-{i:04d}"}, company.BEGIN + timedelta(days=i % 14, minutes=i, hours=5)
        if i in company.NEW and i % 2:
            made.append(company._event(f"complaint-{i}", who, at, "complaint"))
        elif i not in company.NEW and i % 5 == 0:
            made.append(company._event(f"rebooked-{i}", who, at, "slot_rebooked"))
            made.append(company._event(f"ordered-{i}", who, at, "order_placed", 5.0))
        elif i not in company.NEW and i % 5 == 1:  # as many as a floor asks of either arm
            made.append(company._event(f"complaint-{i}", who, at, "complaint"))
    return made


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with March frozen and reported, and April's events in the tables."""
    home = company.make(tmp_path_factory.mktemp("reported") / "home")
    company.add(home, february())
    shell(home, "freeze", "--month", company.MONTH)
    shell(home, "report", "--month", company.MONTH)
    company.add(home, april())
    return home


@pytest.fixture(scope="module")
def restated(reported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, with late data, and April frozen and reported."""
    home = tmp_path_factory.mktemp("restated") / "home"
    shutil.copytree(reported, home)
    company.add(home, late())
    shell(home, "freeze", "--month", APRIL)
    shell(home, "report", "--month", APRIL)
    return home


def test_the_next_freeze_has_what_was_printed(restated: Path) -> None:
    printed = Freeze(restated / "freezes" / APRIL).manifest.printed_month
    march = record(restated, company.MONTH)
    assert printed is not None
    assert printed.freeze_id == march.freeze_id == Freeze(restated / "freezes" / company.MONTH).manifest.freeze_id
    (change,) = march.findings.changes
    shown = {e.metric: (e.effect, e.low, e.high) for e in change.effects}
    rows = [r for r in printed.rows if r.effect is not None and r.metric in shown and r.respondent != "agent"]
    rows.sort(key=lambda r: r.decided_by is not None)  # of two estimators of one metric, that which decides
    exact = {r.metric: (r.effect, r.decision_low, r.decision_high) for r in rows}
    assert shown.keys() == exact.keys()
    for metric, figures in exact.items():
        for one, other in zip(shown[metric], figures, strict=True):
            assert one == (None if other is None else pytest.approx(other, rel=1e-9)), metric
    assert {r.verdict for r in printed.rows if r.verdict} == {change.verdict}
    assert printed.redefined == []


def test_the_figures_now_are_those_of_march_frozen_now(
    restated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "anew"
    shutil.copytree(restated, home)
    shutil.rmtree(home / "freezes")
    capsys.readouterr()
    shell(home, "uplift", "--month", company.MONTH, "--json")
    anew = msgspec.json.decode(capsys.readouterr().out, type=list[Estimate])
    told = {e.metric: e for e in anew if e.decision_low is not None and e.dimension == "all"}
    found = record(restated, APRIL).findings.restatements
    before = {e.metric: e for c in record(restated, company.MONTH).findings.changes for e in c.effects}
    moved = {r.metric: r for r in found.rows}
    assert "slot_rebooked" in moved
    assert moved["complaint"].notes == ("not told in the report",)
    for metric, row in moved.items():
        if metric not in before:
            assert (row.printed, row.moved) == ("", "")
            continue
        assert row.printed == before[metric].difference
        assert row.printed_between == before[metric].between
    assert {metric: row.now for metric, row in moved.items()} == {m: reports_text(told[m]) for m in moved}
    rebooked = moved["slot_rebooked"]
    effect = told["slot_rebooked"].effect
    assert effect is not None
    assert effect < before["slot_rebooked"].effect - 0.1
    assert rebooked.moved.startswith("−")
    assert rebooked.change == "One-tap rebooking"
    for metric in (set(before) - set(moved)) & set(told):
        assert reports_text(told[metric]) == before[metric].difference
    assert (set(before) - set(moved)) & set(told), "something stayed as it was"


def reports_text(e: Estimate) -> str:
    """An effect as the report writes it, by the few rules that hold here."""
    assert e.effect is not None
    bounds = [abs(v) for v in (e.effect, e.decision_low, e.decision_high) if v]
    scale, unit, digits = (100, "\u00a0pp", 1) if e.metric_kind == "proportion" else (1, "", 2)
    if e.metric_kind == "quantile":
        scale, unit, digits = 1, "\u00a0ms", 1
    if e.metric_kind == "ratio":
        scale, unit, digits = 100, "\u00a0pp", 1
    while digits < 6 and any(round(v * scale, digits) == 0 for v in bounds):
        digits += 1
    text = f"{abs(e.effect * scale):,.{digits}f}"
    sign = "" if not any(c in "123456789" for c in text) else "+" if e.effect > 0 else "−"
    return f"{sign}{text}{unit}"


def test_a_verdict_that_would_be_another_is_said_under_the_title(restated: Path) -> None:
    found = record(restated, APRIL).findings
    (verdict,) = found.restatements.verdicts
    assert verdict.printed == record(restated, company.MONTH).findings.changes[0].verdict == "keep testing"
    assert verdict.now == "roll back"
    assert found.standing.startswith("Final, with data up to ")
    assert "One verdict would be another now." in found.standing
    page = (restated / "reports" / f"{APRIL}.html").read_text(encoding="utf-8")
    assert "Verdicts that would be others now" in page
    assert found.restatements.rows[0].printed in page


def test_of_the_month_before_nothing_is_made_that_no_report_reads(restated: Path) -> None:
    freeze = Freeze(restated / "freezes" / APRIL)
    this, before = analyse_freeze(freeze), freeze.month.previous()
    whole, made = analysed(freeze, before), analyse_freeze(freeze, before)
    assert whole.bridge
    assert {e.dimension for e in whole.estimates} > {"all"}
    assert made.bridge == []
    assert {e.dimension for e in made.estimates} == {"all"}
    assert rendered(freeze, this, made).files == rendered(freeze, this, whole).files


def test_the_headline_is_said_to_have_moved(restated: Path) -> None:
    standing = record(restated, APRIL).findings.standing
    printed = json.loads((restated / "freezes" / APRIL / MANIFEST).read_bytes())["printed"]["conversion"]
    ordered = {int(e["event_id"][2:]) for e in company.events() if str(e.get("event_id", "")).startswith("o-")}
    more = {i for i in range(0, company.CUSTOMERS, 5) if i not in company.NEW} - ordered
    assert printed == pytest.approx(len(ordered) / company.CUSTOMERS, abs=1e-12)
    assert f"“conversion” moved by +{100 * len(more) / company.CUSTOMERS:.1f}\u00a0pp since its report" in standing


def test_without_late_data_nothing_moved(reported: Path) -> None:
    shell(reported, "report", "--month", APRIL)
    found = record(reported, APRIL).findings
    assert found.restatements.rows == ()
    assert found.restatements.verdicts == ()
    assert found.restatements.summary == "Last month’s figures stand as its report had them."
    assert found.standing.startswith("Provisional, with data up to ")
    assert "verdict" not in found.standing


def test_a_month_without_one_before_it_says_so(reported: Path) -> None:
    march = record(reported, company.MONTH).findings
    assert march.standing.endswith("Last month has no final report, so nothing could move since.")


def test_a_metric_defined_otherwise_is_named(reported: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(reported, home)
    with (home / "edgeloop.toml").open("a") as file:
        file.write('[metrics.slot_rebooked]\nsource = "engagement"\nevent = "slot_rebooked"\nafter_h = 3\n')
    shell(home, "report", "--month", APRIL)
    found = record(home, APRIL).findings.restatements
    assert "Defined otherwise since then: “slot rebooked”." in found.summary
    notes = {r.metric: r.notes for r in found.rows}
    assert notes["slot_rebooked"] == ("cannot be told any more", "the metric is defined otherwise now")


def test_an_older_freeze_opens_and_keeps_its_id(reported: Path, tmp_path: Path) -> None:
    """A manifest of before there was `printed_month`."""
    path = tmp_path / "2026-03"
    shutil.copytree(Home(reported).freezes / company.MONTH, path)
    manifest = json.loads((path / MANIFEST).read_bytes())
    del manifest["printed_month"]
    (path / MANIFEST).write_text(json.dumps(manifest))
    assert Freeze(path).manifest.printed_month is None
    assert Freeze(path).manifest.freeze_id == manifest["freeze_id"]
    assert isinstance(Freeze(path).manifest, Manifest)


def test_a_freeze_of_before_a_column_gives_the_same_estimates(reported: Path, tmp_path: Path) -> None:
    """Changes without `cluster` and `strata`."""
    path = tmp_path / "2026-03"
    shutil.copytree(Home(reported).freezes / company.MONTH, path)
    whole = analyse_freeze(Freeze(path))
    changes = pq.read_table(path / "changes.parquet")
    assert changes.num_rows
    pq.write_table(changes.drop_columns(["cluster", "strata"]), path / "changes.parquet")
    manifest = json.loads((path / MANIFEST).read_bytes())
    manifest["tables"]["changes"]["sha256"] = sha256((path / "changes.parquet").read_bytes()).hexdigest()
    (path / MANIFEST).write_text(json.dumps(manifest))
    older = analyse_freeze(Freeze(path))
    assert older.changes == whole.changes
    assert older.estimates == whole.estimates


def test_what_was_printed_is_the_same_from_postgresql(
    restated: Path, tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGELOOP_STORE_URL", database_url)
    home = company.make(tmp_path / "home")
    company.add(home, february())
    for command in ("freeze", "report"):
        shell(home, command, "--month", company.MONTH)
    company.add(home, [*april(), *late()])
    shell(home, "freeze", "--month", APRIL)
    found, wanted = (Freeze(h / "freezes" / APRIL).manifest.printed_month for h in (home, restated))
    assert found is not None
    assert wanted is not None
    assert len(found.rows) > 5
    assert [(r.metric, r.effect, r.decision_low, r.verdict) for r in found.rows] == [
        (r.metric, pytest.approx(r.effect), pytest.approx(r.decision_low), r.verdict) for r in wanted.rows
    ]
