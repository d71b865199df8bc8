"""The page says what the verdict rests on, of whom, and in whole names: changes made of typed rows."""

from __future__ import annotations

import html
import json
import re
from typing import Any

import msgspec
import pytest

import reports
from analysis import ALL_METRICS, Analysis, LedgerChange, Metric, Stage
from edgeloop.store import facts
from edgeloop.store.facts import AnyFact, Ruled, Said
from edgeloop.store.freeze import Freeze
from edgeloop.store.rows import Estimate
from reports.findings import Findings
from tests import report_fixture as fixture


@pytest.fixture(scope="module")
def freeze(tmp_path_factory: pytest.TempPathFactory) -> Freeze:
    return fixture.write(tmp_path_factory.mktemp("truths") / "f", {})


def change(**told: Any) -> LedgerChange:
    return LedgerChange(
        **{
            "change_id": "c",
            "model_id": "m",
            "to_version": "2",
            "from_version": "1",
            "kind": "canary",
            "declared": True,
            "stages": (Stage(1, fixture.at(3, 2)),),
            "last_us": fixture.at(3, 30),
            "title": "Night slots",
            **told,
        }
    )


def row(metric: str, **told: Any) -> Estimate:
    return Estimate(
        **{
            "freeze_id": "f",
            "month": "2026-03",
            "change_id": "c",
            "model_id": "m",
            "from_version": "1",
            "to_version": "2",
            "metric": metric,
            "metric_kind": "proportion",
            "unit": "subject",
            "window_h": 72.0,
            "grade": "randomised",
            "n_control": 60,
            "n_treated": 62,
            "role": "goal",
            "source": "share",
            **told,
        }
    )


def clear(metric: str, low: float, high: float, **told: Any) -> Estimate:
    middle = (low + high) / 2
    figures = {"control": 0.2, "treated": 0.2 + middle, "effect": middle, "se": abs(high - low) / 4}
    decided = {"decision_low": low, "decision_high": high, "decided_by": "fixed"}
    return row(metric, **{**figures, **decided, **told})


def built(freeze: Freeze, of: LedgerChange, rows: list[Estimate], ruled: Ruled) -> tuple[Findings, str]:
    """The findings and the words of the page, tags and line ends away."""
    known = {e.metric: Metric(e.metric, "proportion", "share", e.metric, 1, role=e.role or "watch") for e in rows}
    rows = [msgspec.structs.replace(e, verdict=ruled.verdict) for e in rows]
    found = reports.build(freeze, Analysis([of], rows, [], list(known.values()), rulings={"c": ruled}))
    text = re.sub("<style>.*?</style>|<[^>]+>", " ", reports.render(found), flags=re.DOTALL)
    return found, " ".join(html.unescape(text).split())


def test_a_broken_limit_is_named_where_nobody_answered_the_headline(freeze: Freeze) -> None:
    rows = [
        row("s/csat", metric_kind="mean", source="answer", n_control=0, n_treated=0),
        row("error_rate", metric_kind="ratio", source="exposure", role="guardrail", window_h=None, guard="breach",
            control=0.0, treated=0.1),
    ]  # fmt: skip
    found, text = built(freeze, change(), rows, Ruled("roll back", 1, (facts.Breached(("error_rate",)),)))
    said = "It broke the limit of “error rate” (0.0 % → 10.0 %).".replace(" %", "\N{NO-BREAK SPACE}%")
    assert found.decisions[0].why == said
    assert found.changes[0].summary == said
    assert "No clear change" not in text


def test_the_ruling_is_the_changes_and_not_a_rows(freeze: Freeze) -> None:
    """Also where the analysis has but the one row of a change without figures."""
    found, _ = built(freeze, change(), [row(ALL_METRICS, metric_kind="none", grade=None, facts=(Said("chosen"),))],
                     Ruled("keep testing", 3, (Said("chosen"), facts.HoldBack())))  # fmt: skip
    assert found.decisions[0].verdict == found.changes[0].verdict == "keep testing"


def test_what_is_watched_is_never_called_a_guardrail(freeze: Freeze) -> None:
    broken = facts.Guardrail("breach", 0.3, 0.01)
    rows = [clear("seen", 0.05, 0.15, role="watch", guard="breach", facts=(broken,)), clear("sold", 0.05, 0.15)]
    found, text = built(freeze, change(), rows, Ruled("promote", 6, (facts.Better(("sold",)),)))
    assert all(not e.guard for e in found.changes[0].effects)
    assert "guardrail: limit broken" not in text


@pytest.mark.parametrize(("guard", "said"), [
    ("cleared", "within its limit"), ("open", "not yet shown to be within its limit"), ("breach", "limit broken"),
])  # fmt: skip
def test_each_guardrail_says_cleared_open_or_broken(freeze: Freeze, guard: str, said: str) -> None:
    rows = [clear("sold", 0.05, 0.15), clear("late", -0.02, 0.02, role="guardrail", guard=guard)]
    found, _ = built(freeze, change(), rows, Ruled("keep testing", 7, (facts.Undecided(3),)))
    assert next(e for e in found.changes[0].effects if e.metric == "late").guard == said


@pytest.mark.parametrize("verdict", ["roll back", "keep testing"])
def test_names_with_commas_and_semicolons_stay_whole(freeze: Freeze, verdict: str) -> None:
    names = ("late, no photo", "late; again")
    because: AnyFact = facts.Breached(names) if verdict == "roll back" else facts.GuardsOpen(names, 4)
    rows = [
        clear(name, -0.01, 0.01, role="guardrail", guard="breach" if verdict == "roll back" else "open")
        for name in names
    ] + [clear("sold", 0.05, 0.15)]
    found, text = built(freeze, change(), rows, Ruled(verdict, 1, (because,)))  # type: ignore[arg-type]
    assert "“late, no photo”" in found.decisions[0].why
    assert "“late; again”" in found.decisions[0].why
    assert {"Late, no photo", "Late; again"} <= {e.label for e in found.changes[0].effects}
    assert "“late”" not in text
    assert "“again”" not in text


@pytest.mark.parametrize(("unit", "people", "others"), [
    ("subject", "customers", "delivery agents"), ("courier", "delivery agents", "customers"),
])  # fmt: skip
@pytest.mark.parametrize("verdict", ["roll back", "promote", "repair the data first"])
def test_whom_a_sentence_speaks_of_was_drawn(freeze: Freeze, verdict: str, unit: str, people: str, others: str) -> None:
    sign = -1 if verdict == "roll back" else 1
    rows = [clear("s/csat", sign * 0.1, sign * 0.3, metric_kind="mean", unit=unit)]
    because: AnyFact = {
        "roll back": facts.Worse(("s/csat",)),
        "promote": facts.Better(("s/csat",)),
        "repair the data first": facts.SampleRatio(1e-9),
    }[verdict]
    found, _ = built(freeze, change(unit=unit), rows, Ruled(verdict, 1, (because,)))  # type: ignore[arg-type]
    asked, told = found.decisions[0], found.changes[0]
    spoken = f"{asked.sure} {asked.waiting} {asked.why} {told.design}"
    assert people in spoken
    assert others not in spoken
    assert told.effects[0].of_both == f"60 and 62 {people}"


@pytest.mark.parametrize(("of", "n"), [
    ({"unit": "courier"}, "60 and 62 delivery agents"),
    ({"unit": "zone", "kind": "staged"}, "60 and 62 zones"),
    ({"unit": "zone_time"}, "60 and 62 blocks"),
    ({"unit": "subject"}, "60 and 62 customers"),
])  # fmt: skip
def test_every_n_has_its_unit(freeze: Freeze, of: dict[str, str], n: str) -> None:
    found, text = built(freeze, change(**of), [clear("sold", -0.01, 0.01)],
                        Ruled("keep testing", 7, (facts.Undecided(3),)))  # fmt: skip
    assert found.changes[0].effects[0].of_both == n
    assert n in text
    assert "n\N{NO-BREAK SPACE}=" not in text.split("Did it help?")[1].split("Why")[0]


def test_by_zone_nobody_says_that_customers_were_assigned(freeze: Freeze) -> None:
    of = change(unit="zone", kind="staged", assignment="random")
    rows = [clear("sold", 0.05, 0.15, unit="zone"),
            row("pulse/csat", respondent="agent", role="watch", facts=(Said("not identifiable"),))]  # fmt: skip
    _, text = built(freeze, of, rows, Ruled("promote", 6, (facts.Better(("sold",)),)))
    assert "customers were assigned" not in text
    assert "zones were assigned at random" in text


def test_what_is_not_shown_says_what_would_have_shown_and_what_it_takes(freeze: Freeze) -> None:
    because = facts.NotShown("sold", smallest=0.031, practical=0.012, units=8_043, days=12)
    found, text = built(freeze, change(), [clear("sold", -0.02, 0.03)], Ruled("not shown", 8, (because,)))
    said = (
        "No effect on “sold” is shown, and none is ruled out. An effect of 3.1 percentage points would have shown in "
        "80 of 100 such tests. For one worth acting on (1.2 percentage points) it takes about 8,000 customers in both "
        "versions together: at least 12 days more."
    )
    assert found.decisions[0].why == said
    assert found.changes[0].summary == said
    assert "no effect" not in found.title.lower() + found.decisions[0].action.lower()
    assert "Stop, no effect" not in text


def test_a_full_switch_names_what_its_own_rows_exclude(freeze: Freeze) -> None:
    rows = [clear("sold", 0.05, 0.15, grade="before_after"), clear("late", 0.01, 0.09, grade="before_after")]
    found, _ = built(freeze, change(kind="switch"), rows,
                     Ruled("keep testing", 3, (Said("no control"), facts.HoldBack())))  # fmt: skip
    asked = found.decisions[0]
    assert "was followed by a rise in the share of customers with “sold”" in asked.why
    assert asked.sure == "Not clear: before and after alone rule out no other cause"


def test_no_number_of_the_findings_is_beyond_use(freeze: Freeze) -> None:
    rows = [clear("sold", -0.01, 0.01, facts=(facts.Draws(10**300, "blocks"),)),
            row("late", facts=(facts.FewDraws(10, 20),))]  # fmt: skip
    found, text = built(freeze, change(unit="zone_time"), rows, Ruled("keep testing", 7, (facts.Undecided(3),)))
    written = json.dumps(msgspec.to_builtins(found)) + text + str(facts.encoded(rows[0].facts))
    assert not re.search(r"\d{20}", written)


def test_the_promoted_list_has_the_interval_of_the_section(freeze: Freeze) -> None:
    e = clear("sold", 0.048, 0.129, se=0.0148, effect=0.089)
    metric = Metric("sold", "proportion", "share", "sold", 1, role="goal", headline=True)
    rows = [msgspec.structs.replace(e, verdict="promote")]
    ruled = {"c": Ruled("promote", 6, (facts.Better(("sold",)),))}
    found = reports.build(freeze, Analysis([change()], rows, [], [metric], rulings=ruled))
    assert found.changes[0].effects[0].between == "+4.8 to +12.9\N{NO-BREAK SPACE}pp"
    assert "(+4.8 to +12.9\N{NO-BREAK SPACE}pp)" in found.promoted


def test_before_and_after_of_both_sides_where_the_effect_is_of_differences(freeze: Freeze) -> None:
    e = clear("sold", -0.042, 0.047, control=0.128, treated=0.178, effect=0.003, control_before=0.129,
              treated_before=0.176, unit="zone")  # fmt: skip
    of = change(unit="zone", kind="staged", assignment="random")
    found, text = built(freeze, of, [e], Ruled("keep testing", 7, (facts.Undecided(3),)))
    told = found.changes[0].effects[0]
    before = tuple(figure.replace("\N{NO-BREAK SPACE}", "") for figure in (told.control_before, told.treated_before))
    assert before == ("12.9%", "17.6%")
    assert "before: 12.9 % → 17.6 %" in text


def test_a_limit_broken_without_a_range_is_called_so_in_its_row(freeze: Freeze) -> None:
    e = clear("late", 0.05, 0.15, decided_by=None, role="guardrail", guard="breach", facts=(facts.FewDays(3, 7),))
    _, text = built(freeze, change(), [e], Ruled("roll back", 1, (facts.Breached(("late",)),)))
    assert "guardrail: limit broken" in text


def test_the_first_lines_name_what_the_decision_rests_on(freeze: Freeze) -> None:
    better = [clear("sold", 0.05, 0.15)]
    waits = facts.GuardsOpen(("late",), 12, ("sold",))
    found, text = built(freeze, change(), better, Ruled("keep testing", 7, (waits,)))
    assert found.brief[1].text.startswith("“Night slots” lifted the share of customers with “sold” by 10.0")
    assert "That “late” keeps its limit is not shown yet." in found.decisions[0].why
    assert "Until the limits could be shown to be kept: at least 12 days more." in text
    broken = row("late", role="guardrail", guard="breach", control=0.0, treated=0.1)
    found, _ = built(freeze, change(), [broken], Ruled("roll back", 1, (facts.Breached(("late",)),)))
    assert found.brief[1].text.startswith("“Night slots”: It broke the limit of “late”")
