"""Words are held to the deciding interval by a table of the test's own; it imports no wording but what it tests."""

from __future__ import annotations

import random
import re

import pytest

from edgeloop.store.rows import Estimate
from reports.words import certainty, direction, practical, sentence, verb

# (sign of low, sign of high) → what may be said where there is enough data
UP = {
    "randomised": "lifted",
    "labelled": "was followed by a rise in",
    "quasi": "was followed by a rise in",
    "before_after": "was followed by a rise in",
}
DOWN = {
    "randomised": "lowered",
    "labelled": "was followed by a fall in",
    "quasi": "was followed by a fall in",
    "before_after": "was followed by a fall in",
}
ALL = {*UP.values(), *DOWN.values(), "no clear change", "not enough data"}
CAUSAL = re.compile(r"\b(lifted|lowered|caused|improved|raised|reduced|increased|decreased)\b")


def allowed(low: float, high: float, enough: bool, grade: str) -> str:
    if not enough:
        return "not enough data"
    if low > 0 and high > 0:
        return UP[grade]
    if low < 0 and high < 0:
        return DOWN[grade]
    return "no clear change"


def estimate(
    low: float, high: float, enough: bool, grade: str, kind: str = "proportion", metric: str = "m"
) -> Estimate:
    return Estimate(
        freeze_id="f", month="2026-03", change_id="c", model_id="m", to_version="2", metric=metric, metric_kind=kind,
        unit="subject", grade=grade, effect=(low + high) / 2, decision_low=low, decision_high=high,
        decided_by="fixed" if enough else None,
    )  # fmt: skip


def test_two_thousand_random_findings() -> None:
    rng = random.Random(7)
    seen = set()
    for _ in range(2_000):
        low = rng.choice([-1, 1]) * rng.random()
        high = low + rng.random() * 1.5
        enough, grade = rng.random() < 0.8, rng.choice(sorted(UP))
        e = estimate(low, high, enough, grade, rng.choice(["proportion", "mean", "nps"]))
        wanted = allowed(low, high, enough, grade)
        seen.add(wanted)
        text = sentence("“The change”", e) + " " + practical(e)
        assert verb(e) == wanted
        assert wanted in text
        for other in ALL - {wanted}:
            assert other not in text, (wanted, text)
        assert "significant" not in text
        assert "−" not in text
        if grade != "randomised":
            assert not CAUSAL.search(text)
    assert seen == ALL


@pytest.mark.parametrize("low", [-0.4, -1e-9, 0.0, 1e-9, 0.4])
@pytest.mark.parametrize("width", [0.0, 1e-9, 0.1, 1.0])
@pytest.mark.parametrize("grade", sorted(UP))
@pytest.mark.parametrize("enough", [True, False])
def test_edges(low: float, width: float, grade: str, enough: bool) -> None:
    assert verb(estimate(low, low + width, enough, grade)) == allowed(low, low + width, enough, grade)


@pytest.mark.parametrize(
    ("low", "high", "enough", "lower_is_better", "wanted", "sure"),
    [
        (0.1, 0.3, True, False, "better", "clear"),
        (0.1, 0.3, True, True, "worse", "clear"),
        (-0.3, -0.1, True, False, "worse", "clear"),
        (-0.3, -0.1, True, True, "better", "clear"),
        (-0.1, 0.3, True, False, "unclear", "not clear"),
        (0.0, 0.3, True, False, "unclear", "not clear"),
        (-0.3, 0.0, True, True, "unclear", "not clear"),
        (0.1, 0.3, False, False, "early", "too early"),
    ],
)
def test_direction(low: float, high: float, enough: bool, lower_is_better: bool, wanted: str, sure: str) -> None:
    found = direction(estimate(low, high, enough, "randomised"), lower_is_better=lower_is_better)
    assert (found, certainty(found)) == (wanted, sure)
    assert certainty(found, doubted=True) == "data in doubt"


@pytest.mark.parametrize(
    ("low", "high", "kind", "metric", "wanted"),
    [
        (0.024, 0.044, "proportion", "rebooked", "about 340 more of 10,000 customers (240 to 440)"),
        (-0.044, -0.024, "proportion", "rebooked", "about 340 fewer of 10,000 customers (240 to 440)"),
        (0.5, 1.5, "mean", "order:value", "about 10,000 EUR more per 10,000 customers (5,000 to 15,000)"),
        (-0.8, -0.6, "mean", "s/csat", "as if about 70 of 100 who answered had scored one point lower"),
        (-8.0, -4.0, "nps", "s/nps", "as if about 6 of 100 who answered had gone from neutral to detractor"),
        (-0.1, 0.2, "proportion", "rebooked", ""),
    ],
)
def test_practical_size(low: float, high: float, kind: str, metric: str, wanted: str) -> None:
    assert practical(estimate(low, high, True, "randomised", kind, metric), "EUR") == wanted


def test_a_range_is_told_from_small_to_large_without_signs() -> None:
    text = sentence("x", estimate(-0.9, -0.5, True, "randomised", "mean", "s/csat"))
    assert text == "x lowered the satisfaction score (s survey) by 0.70 points (range 0.50 to 0.90)"
