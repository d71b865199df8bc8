"""Do weights repair what the covariates know, and do bounds and tipping point hold where the answer itself decides?

Scores of 1 to 5 differ by zone, device and customer segment. In the first survey who answers depends on these, and
differently in the two arms; in the others it depends on the score as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from analysis.lift import compare, mean_sample
from analysis.moments import FloatArray, IntArray, Moments
from analysis.survey.bounds import lee_bounds, tipping_point
from analysis.survey.weights import Patterns, WeightedMean, weighted_mean
from benchmarks.calibration.results import sum_moments
from benchmarks.calibration.scenario import Row, Scenario, Tally, Target, add, coverage, false_alarms

PEOPLE = 4_000
EFFECT = 0.3
LEVEL = 0.05
WORSE = -0.1
ON_ANSWER = 0.5  # what a point of the score adds to the logit of answering


SPREAD = 0.9


@dataclass(frozen=True, slots=True, eq=False)
class Survey:
    """One survey; ``scores`` under (old, new) version of everybody, and who is ``always`` there, only we know."""

    codes: tuple[IntArray, ...]
    treated: np.ndarray
    scores: tuple[FloatArray, FloatArray]
    answered: np.ndarray
    always: np.ndarray
    """Who would answer under either version."""

    def arm(self, new: bool) -> np.ndarray:
        """Who is in an arm."""
        return self.treated == new

    def given(self, new: bool) -> FloatArray:
        """The answers of an arm."""
        return self.scores[new][self.arm(new) & self.answered]

    def weighted(self, new: bool) -> WeightedMean:
        """As `analysis.survey.measure` weights an arm."""
        who = self.arm(new)
        d = self.answered[who].astype(np.float64)
        patterns = Patterns.from_codes([code[who] for code in self.codes])
        return weighted_mean(patterns, np.arange(len(d)), self.scores[new][who] * d, d)


def expected(effect: float) -> float:
    """The mean score of everybody under a version that shifts it by so much, before it is rounded to 1–5."""
    edges = np.array([-np.inf, 1.5, 2.5, 3.5, 4.5, np.inf])
    cells = [_mean(z, d, s) + effect for z in range(4) for d in range(3) for s in range(2)]
    chance = np.diff(stats.norm.cdf((edges - np.array(cells)[:, None]) / SPREAD), axis=1)
    return float((chance @ np.arange(1, 6)).mean())


def _mean(zone: Any, device: Any, segment: Any) -> Any:
    return 3.4 - 0.5 * (zone == 0) + 0.3 * (device == 1) + 0.2 * segment


def survey(rng: np.random.Generator, *, effect: float, on_answer: bool = False) -> Survey:
    """4,000 people, each with a score under either version and one draw of answering for both.

    Args:
        on_answer: under the new version the content answer more, whatever the covariates say.
    """
    zone, device, segment = (rng.integers(0, k, PEOPLE) for k in (4, 3, 2))
    mood = rng.normal(0.0, SPREAD, PEOPLE)
    old, new = (np.clip(np.rint(_mean(zone, device, segment) + e + mood), 1, 5) for e in (0.0, effect))
    common = -1.2 + 0.5 * segment - 0.3 * (device == 2)
    logits = common - 0.4 * (zone == 0), common + 1.0 * (zone == 0)
    if on_answer:
        logits = common, common + 0.4 + ON_ANSWER * np.maximum(new - 2, 0)
    draw = rng.logistic(size=PEOPLE)
    answers = [draw < logit for logit in logits]
    treated = rng.random(PEOPLE) < 0.5
    return Survey(
        (zone, device, segment), treated, (old, new), np.where(treated, answers[1], answers[0]), answers[0] & answers[1]
    )


def known(rng: np.random.Generator, sets: int) -> Tally:
    """Answering depends on the covariates alone."""
    tally: Tally = {}
    for effect in (EFFECT, 0.0):
        means = expected(0.0), expected(effect)
        true = means[1] - means[0]
        for _ in range(sets):
            drawn = survey(rng, effect=effect)
            arms = drawn.weighted(False), drawn.weighted(True)
            made = compare(arms[0].sample, arms[1].sample)
            low, high = made.interval(LEVEL) or (0.0, 0.0)
            if effect == 0:
                add(tally, "aa", (made.p or 1.0) <= LEVEL)
                continue
            add(tally, "bias", made.effect - true, arms[1].plain - arms[0].plain - true)
            add(tally, "bias_new", arms[1].sample.mean - means[1], arms[1].plain - means[1])
            add(tally, "effect", low <= true <= high)
            plain = [mean_sample(_moments(drawn.given(new))) for new in (False, True)]
            low, high = compare(plain[0], plain[1]).interval(LEVEL) or (0.0, 0.0)
            add(tally, "plain", low <= true <= high)
    return tally


def unknown(rng: np.random.Generator, sets: int) -> Tally:
    """Under the new version answering depends on the answer: no weight can repair that."""
    tally: Tally = {}
    for effect in (EFFECT, WORSE):
        for _ in range(sets):
            drawn = survey(rng, effect=effect, on_answer=True)
            arms = drawn.weighted(False), drawn.weighted(True)
            made = compare(arms[0].sample, arms[1].sample)
            change = drawn.scores[1] - drawn.scores[0]
            everybody = float(change.mean())
            bounds = lee_bounds(drawn.given(False), drawn.given(True), _entered(drawn))
            always = float(change[drawn.always].mean())
            add(tally, "inside", bounds.low <= always <= bounds.high)
            add(tally, "outer", bounds.outer[0] <= always <= bounds.outer[1])
            new = drawn.arm(True)
            rate = float(drawn.answered[new].mean())
            tips = tipping_point(made.effect, rate)
            # How much lower the new arm's silent score than the weights say, which nobody can know.
            lower = (arms[1].sample.mean - float(drawn.scores[1][new].mean())) / (1 - rate)
            add(tally, "tips", tips is not None and (lower < tips) == (everybody > 0))
            if effect == EFFECT:
                add(tally, "bias", made.effect - everybody, arms[1].plain - arms[0].plain - everybody)
            else:
                add(tally, "misled", made.effect > 0)
    return tally


def _entered(drawn: Survey) -> tuple[int, int]:
    n = int(np.count_nonzero(drawn.treated))
    return PEOPLE - n, n


def _moments(values: FloatArray) -> Moments:
    return sum_moments(len(values), float(values.sum()), float(values @ values), float(values @ values**2))


SETS = 1_000
_LITTLE = Target(-0.1, 0.1)
_KNOWN = "survey, who answers depends on known covariates"
_UNKNOWN = "survey, who answers depends on the answer"

SCENARIOS: list[Scenario] = [
    Scenario(
        "survey", _KNOWN, SETS, 20,
        [
            Row("bias", f"{_KNOWN}: share of the effect's bias that weights keep", _LITTLE),
            Row("bias_new", f"{_KNOWN}: share of the new arm's bias that weights keep", _LITTLE),
            Row("effect", f"{_KNOWN}: weighted interval", coverage(SETS)),
            Row("aa", f"{_KNOWN}: weighted, A/A", false_alarms(SETS)),
            Row("plain", f"{_KNOWN}: unweighted interval", None),
        ],
        known,
    ),
    Scenario(
        "survey_unknown", _UNKNOWN, SETS, 20,
        [
            Row("outer", f"{_UNKNOWN}: Lee's bounds with their interval hold the truth", Target(0.95, 1.0)),
            Row("inside", f"{_UNKNOWN}: Lee's bounds alone hold it", None),
            Row("tips", f"{_UNKNOWN}: the silent score below the tipping point exactly where nothing got better",
                Target(0.95, 1.0)),
            Row("bias", f"{_UNKNOWN}: share of the effect's bias that weights keep", None),
            Row("misled", f"{_UNKNOWN}, and the effect is −0.1: weighted effects above 0", None),
        ],
        unknown,
    ),
]  # fmt: skip
