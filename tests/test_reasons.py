"""What analysis writes as a reason, the report reads back: held to the rows of real months, so that neither drifts."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from analysis import ALL_METRICS, Analysis
from analysis.verdict import Case, Goal, rule
from edgeloop.store.rows import Estimate
from reports import language, reasons
from tests import report_months
from tests.report_fixture import analysed


@pytest.fixture(scope="module")
def months(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Analysis]:
    folder = tmp_path_factory.mktemp("reasons")
    return {name: analysed(make(folder / name)) for name, make in report_months.MONTHS.items()}


def rows(months: dict[str, Analysis]) -> list[Estimate]:
    return [e for analysis in months.values() for e in analysis.estimates if e.dimension == "all"]


def test_every_floor_is_understood(months: dict[str, Analysis], monkeypatch: pytest.MonkeyPatch) -> None:
    """In a language of brackets what is not understood stays bare."""

    class Bracketed(dict[tuple[str, ...], tuple[str, ...]]):
        def get(self, key: tuple[str, ...], default: object = None) -> tuple[str, ...]:
            return tuple(f"⟦{text}⟧" for text in key)

    monkeypatch.setattr(language, "_catalogue", lambda _: Bracketed())
    early = [e for e in rows(months) if (e.reason or "").startswith(("not enough data", "repair the data first"))]
    assert len(early) > 50
    for e in early:
        assert reasons.floor(e).startswith("⟦") or reasons.said(reasons.parts(e)[0]).startswith("⟦"), e.reason
    refused = [e for e in rows(months) if e.metric == ALL_METRICS]
    assert all(reasons.floor(e).startswith("⟦") for e in refused), refused


def test_guardrails_are_read(months: dict[str, Analysis]) -> None:
    guarded = [
        (analysis, e) for analysis in months.values() for e in analysis.estimates
        if e.dimension == "all" and e.metric in ("error_rate", "over_budget", "latency_p95")
    ]  # fmt: skip
    states = {reasons.guard(e)[0] for _, e in guarded if reasons.guard(e)}  # type: ignore[index]
    assert states >= {"cleared", "open"}
    assert all(reasons.guard(e) is not None for _, e in guarded if e.grade != "before_after")
    assert reasons.guard(Estimate(freeze_id="", month="", change_id="", model_id="", to_version="", metric="m",
                                  metric_kind="mean", unit="subject", reason="better")) is None  # fmt: skip


def test_weights_bounds_and_tipping_points_are_those_of_the_rows(months: dict[str, Analysis]) -> None:
    found = 0
    for analysis in months.values():
        for e in analysis.estimates:
            if e.estimator != "weighted":
                continue
            plain = next(
                o for o in analysis.estimates
                if (o.change_id, o.metric, o.stage, o.estimator, o.dimension)
                == (e.change_id, e.metric, e.stage, "ratio", "all")
            )  # fmt: skip
            assert plain.effect is not None
            assert e.effect is not None
            assert reasons.unweighted(e) == pytest.approx(plain.effect, rel=0.01)
            silent = reasons.silent(e)
            assert silent is not None
            assert silent.low <= silent.high
            assert silent.tips is not None
            assert e.response_treated is not None
            assert silent.tips == pytest.approx(e.effect / (1 - e.response_treated), rel=0.02)
            found += 1
    assert found >= 4


def test_the_ruling_is_a_sentence(months: dict[str, Analysis]) -> None:
    told = {
        reasons.ruling([e for e in analysis.estimates if e.change_id == change.change_id], verdict)
        for analysis in months.values()
        for change in analysis.changes
        for verdict in {e.verdict for e in analysis.estimates if e.change_id == change.change_id and e.verdict}
    }
    assert any("full days have complete windows" in text for text in told)
    assert any("No effect of a size worth acting on" in text for text in told)
    assert all(text == "" or text.endswith(".") for text in told)


def test_a_roll_back_for_rare_events_says_so() -> None:
    worse = Goal("complaint", -math.inf, -math.ulp(0.0), True, floor="not enough data", practical=0.01)
    why = rule(Case(goals=[worse], full_days=20)).why
    row = Estimate(freeze_id="", month="", change_id="c", model_id="", to_version="", metric="complaint",
                   metric_kind="proportion", unit="subject", verdict="roll back",
                   reason=f"not enough data; roll back: {why}")  # fmt: skip
    assert reasons.ruling([row], "roll back").startswith("It made “complaint” worse")


def test_what_is_not_known_is_shown_as_it_is() -> None:
    assert reasons.said("a reason of a later version") == "a reason of a later version"


def test_the_folder_of_a_month_is_no_part_of_it(tmp_path: Path) -> None:
    one, other = (analysed(report_months.MONTHS["first month"](tmp_path / name)) for name in ("a", "b"))
    assert one.estimates == other.estimates
