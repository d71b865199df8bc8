"""Six months unlike the demo: each page says what was planted, of the people who were drawn, and nothing beside it."""

from __future__ import annotations

import pytest

from reports.findings import Change, Decision, Findings
from tests import design_months


@pytest.fixture(scope="module")
def months(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Findings]:
    folder = tmp_path_factory.mktemp("designs")
    return {name: design_months.findings(name, folder / name.replace(" ", "-")) for name in design_months.MONTHS}


def asked(found: Findings, title: str = "Evening slots first") -> Decision:
    return next(d for d in found.decisions if d.title == title)


def block(found: Findings, title: str = "Evening slots first") -> Change:
    return next(c for c in found.changes if c.title == title)


def test_by_courier_the_page_speaks_of_delivery_agents(months: dict[str, Findings]) -> None:
    found = months["by courier"]
    decision, told = asked(found), block(found)
    assert decision.verdict == "roll back"
    assert "lowered the satisfaction score" in decision.why
    assert "delivery agents were assigned at random" in decision.sure
    assert decision.waiting == "Each month about 40 delivery agents work with the version that did worse"
    assert {e.of_both for e in told.effects if e.metric == "csat"} == {"40 and 40 delivery agents"}
    assert "customers" not in decision.sure + decision.waiting + told.design


def test_a_canary_that_is_then_for_everybody_asks_nothing_again(months: dict[str, Findings]) -> None:
    found = months["canary then switch"]
    assert found.decisions == ()
    low, high = (block(found).effects[0].low, block(found).effects[0].high)
    assert low is not None
    assert high is not None
    assert low < block(found).effects[0].effect < high
    bars = [b for b in found.bridge.bars if b.kind == "version"]
    assert len(bars) == 1


def test_a_switchback_is_told_by_its_blocks(months: dict[str, Findings]) -> None:
    found = months["switchback"]
    assert asked(found).verdict == "promote"
    assert "blocks of a zone and a time were assigned at random" in asked(found).sure
    assert "blocks of a zone and a time" in block(found).design
    assert block(found).effects[0].of_both.endswith(" blocks")


def test_of_three_arms_each_is_told_for_itself(months: dict[str, Findings]) -> None:
    found = months["three arms"]
    failing = asked(found, "Evening slots, new ranking")
    assert failing.verdict == "roll back"
    assert "“error rate”" in failing.why
    effect = next(e for e in block(found).effects if e.metric == "slot_rebooked")
    assert (effect.direction, block(found).verdict in ("promote", "keep testing")) == ("better", True)


def test_one_version_only_asks_nothing(months: dict[str, Findings]) -> None:
    found = months["no change"]
    assert (found.decisions, found.changes) == ((), ())
    assert found.title == "No model version changed in March 2026"


def test_nobody_claims_no_effect_of_what_works(months: dict[str, Findings]) -> None:
    for name, found in months.items():
        assert all(d.verdict != "stop, no effect" for d in found.decisions), name
