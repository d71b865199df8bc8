"""``[metrics.NAME]``: the pack, a company's own sections over it, and what is refused with which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgeloop.errors import UsageError
from edgeloop.metrics import PACK, metrics_in_force
from edgeloop.settings import load


def test_without_sections_the_pack_is_in_force() -> None:
    assert metrics_in_force({}) == PACK
    assert [name for name, m in PACK.items() if m.headline] == ["conversion"]
    assert {m.role for m in PACK.values()} == {"goal", "guardrail", "watch"}


def test_a_section_changes_the_keys_it_names() -> None:
    found = metrics_in_force({"conversion": {"event": "shipment_booked", "window_h": 24.0}})["conversion"]
    assert (found.event, found.window_h, found.headline, found.role) == ("shipment_booked", 24.0, True, "goal")


def test_a_metric_may_be_added_and_taken_away() -> None:
    found = metrics_in_force({"nps": {"role": "off"}, "tips": {"event": "tip_given", "kind": "mean"}})
    assert "nps" not in found
    assert (found["tips"].role, found["tips"].kind) == ("watch", "mean")


def test_answers_have_a_mean_and_a_fortnight_unless_said_otherwise() -> None:
    found = metrics_in_force({"ease": {"source": "answers", "event": "home/ease"}})["ease"]
    assert (found.kind, found.window_h) == ("mean", 336.0)


def test_ones_own_headline_takes_the_place_of_the_packs() -> None:
    found = metrics_in_force({"tips": {"event": "tip_given", "role": "goal", "headline": True}})
    assert [name for name, m in found.items() if m.headline] == ["tips"]
    assert found["conversion"].role == "goal"


@pytest.mark.parametrize(
    ("sections", "says"),
    [
        ({"lower_is_better": ["complaint"]}, "metrics.lower_is_better: a metric is a section of its own"),
        ({"tips": {"event": "tip", "roll": "goal"}}, "[metrics.tips] roll is unknown (did you mean role?)"),
        ({"tips": {}}, "[metrics.tips]: event is missing"),
        ({"tips": {"event": "tip", "kind": "quantile"}}, "kind 'quantile' does not go with source 'engagement'"),
        ({"slow": {"source": "exposures", "event": "latency_ms"}}, "kind 'proportion' does not go with source"),
        ({"ease": {"source": "answers", "event": "a/b", "kind": "proportion"}}, 'answers have kind "mean" or "nps"'),
        ({"tips": {"event": "tip", "kind": "nps"}}, 'kind "nps" is for answers'),
        ({"tips": {"event": "tip", "window_h": 24.0, "after_h": 24.0}}, "after_h must be smaller than window_h"),
        ({"tips": {"event": "tip", "covariate": {"source": "profile"}}}, "covariate.name is missing"),
        ({"tips": {"event": "tip", "role": "guardrail"}}, "a guardrail needs margin"),
        ({"tips": {"event": "tip", "window_h": -1.0}}, "[metrics.tips]: Expected `float` > 0.0"),
        ({"conversion": {"role": "off"}}, "no goal is the headline"),
        ({"conversion": {"role": "watch"}}, "[metrics.conversion]: the headline must be a goal"),
        (
            {
                "a": {"event": "a", "role": "goal", "headline": True},
                "b": {"event": "b", "role": "goal", "headline": True},
            },
            "a and b are the headline; exactly one goal has headline = true",
        ),
    ],
)
def test_what_is_wrong_is_named(sections: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError) as raised:
        metrics_in_force(sections)
    assert says in str(raised.value)


def test_a_wrong_section_stops_the_command_and_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "edgeloop.toml").write_text('[metrics.tips]\nevent = "tip"\nrole = "gaol"\n', encoding="utf-8")
    with pytest.raises(UsageError) as raised:
        load(tmp_path, {})
    assert "edgeloop.toml" in str(raised.value)
    assert "[metrics.tips] role = 'gaol' is none of goal, guardrail, watch, off (did you mean goal?)" in str(
        raised.value
    )


def test_a_headline_that_is_off_names_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "edgeloop.toml").write_text('[metrics.conversion]\nrole = "off"\n', encoding="utf-8")
    with pytest.raises(UsageError, match="exactly one goal has headline = true"):
        load(tmp_path, {})
