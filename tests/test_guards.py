"""Is a guardrail's state right at every size? Exact bounds, the three ways to a state, and what total failure gets."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats

from analysis import analyse
from analysis.estimators import bounded
from analysis.estimators.bounded import Bounded
from analysis.guards import LEAST_UNITS, Terms, by_counts, by_interval, by_normal, worst
from analysis.lift import Effect, Sample, compare
from edgeloop.store.facts import OneUnit
from tests.frames import LATER, MARCH, World, together, trial


def terms(margin: float, n: int, *, tests: int = 3, planned: int = 5_000, per_day: float = 100.0) -> Terms:
    return Terms("errors", margin, True, n, planned, tests, n, per_day, 0.0)


def arms(marked: tuple[int, int], units: tuple[int, int]) -> tuple[Bounded, Bounded]:
    return Bounded(marked[0] / units[0], units[0]), Bounded(marked[1] / units[1], units[1])


class TestCounts:
    @pytest.mark.parametrize(
        ("marked", "units", "margin", "state"),
        [
            ((0, 500), (1_500, 500), 0.005, "breach"),  # a version that fails for everybody
            ((0, 10), (1_500, 10), 0.005, "breach"),
            ((0, 100), (1_500, 500), 0.005, "breach"),
            ((0, 0), (60, 60), 0.005, "open"),  # 0 of 60 says no more than "below 5 %"
            ((0, 0), (3_000, 3_000), 0.005, "cleared"),
            ((3, 15), (1_500, 1_500), 0.01, "open"),  # 0.2 → 1.0 %, inside a margin of one point
            ((1_500, 1_500), (1_500, 1_500), 0.005, "cleared"),
        ],
    )
    def test_states(self, marked: tuple[int, int], units: tuple[int, int], margin: float, state: str) -> None:
        assert by_counts(terms(margin, sum(units)), arms(marked, units)).state == state

    def test_the_days_until_it_can_be_cleared_are_enough(self) -> None:
        found = by_counts(terms(0.005, 120, per_day=50.0), arms((0, 0), (60, 60)))
        assert found.state == "open"
        assert found.visible == pytest.approx(1 - 0.05 ** (1 / 60), abs=0.03)
        assert found.days_left is not None
        grown = round((120 + 50 * found.days_left) / 2)
        assert by_counts(terms(0.005, 2 * grown), arms((0, 0), (grown, grown))).state == "cleared"
        less = round((120 + 50 * found.days_left * 0.9) / 2)
        assert by_counts(terms(0.005, 2 * less), arms((0, 0), (less, less))).state == "open"

    def test_what_is_worse_already_has_no_day_on_which_it_is_cleared(self) -> None:
        assert by_counts(terms(0.005, 120), arms((0, 2), (60, 60))).days_left is None

    def test_a_metric_of_which_more_is_better_is_turned(self) -> None:
        more = Terms("on_time", 0.01, False, 2_000, 5_000, 3, 2_000, 100.0, 0.0)
        assert by_counts(more, arms((1_500, 0), (1_500, 500))).state == "breach"
        assert by_counts(more, arms((0, 500), (1_500, 500))).state == "cleared"


class TestBound:
    def test_the_evidence_is_the_average_likelihood_ratio(self) -> None:
        """Against its integral over q above p by quadrature."""
        prior = stats.beta(0.5, 0.5)
        for x, n, p in ((3, 40, 0.02), (0, 25, 0.1), (50, 50, 0.4), (12, 300, 0.06)):

            def ratio(q: float, x: int = x, n: int = n, p: float = p) -> float:
                return float(np.exp(x * np.log(q / p) + (n - x) * np.log1p(-q) - (n - x) * np.log1p(-p)) * prior.pdf(q))

            average = integrate.quad(ratio, p, 1, limit=400)[0] / prior.sf(p)
            found = float(np.exp(bounded.log_evidence_above(Bounded(x / n, n), p)))
            assert found == pytest.approx(average, rel=1e-4)

    def test_the_bound_is_where_the_evidence_is_one_in_alpha(self) -> None:
        low = Bounded(0.05, 200).lower(0.01)
        assert 0 < low < 0.05
        assert bounded.log_evidence_above(Bounded(0.05, 200), low) == pytest.approx(np.log(100), abs=1e-6)

    def test_it_holds_at_every_look(self) -> None:
        """300 tests at the margin, looked at on every third of 40 days: at most 5 % break the bound."""
        rng = np.random.default_rng(20261130)
        broke = 0
        for _ in range(300):
            old, new = rng.binomial(100, 0.02, 40).cumsum(), rng.binomial(30, 0.03, 40).cumsum()
            broke += any(
                bounded.difference_above(
                    Bounded(old[k] / (100 * (k + 1)), 100 * (k + 1)),
                    Bounded(new[k] / (30 * (k + 1)), 30 * (k + 1)),
                    0.05,
                )
                > 0.01
                for k in range(0, 40, 3)
            )
        assert broke <= 0.05 * 300

    def test_values_between_the_ends_are_safe_too(self) -> None:
        """Scores of 1 to 5, scaled: the bound of Bernoullis with the same mean is the wider one."""
        rng = np.random.default_rng(7)
        above = 0
        for _ in range(400):
            z = rng.choice([0.0, 0.25, 0.5, 0.75, 1.0], 60, p=[0.1, 0.1, 0.2, 0.3, 0.3])
            above += Bounded(float(z.mean()), 60).lower(0.05) > 0.65
        assert above <= 0.05 * 400

    def test_one_look_is_clopper_and_pearson(self) -> None:
        assert Bounded(0.0, 60).once_upper(0.05) == pytest.approx(1 - 0.05 ** (1 / 60))
        assert Bounded(5 / 100, 100).once_upper(0.025) == pytest.approx(stats.binomtest(5, 100).proportion_ci().high)

    def test_a_unit_that_brings_all_marks_is_worth_one(self) -> None:
        y, d = np.zeros(60), np.full(60, 20.0)
        y[0] = 20.0
        found = Bounded.of(y, d)
        assert found is not None
        assert found.n == pytest.approx(59, rel=0.05)
        spread = Bounded.of(np.where(np.arange(60) < 20, 1.0, 0.0), d)
        assert spread is not None
        assert spread.n > 1_000

    def test_all_marked_are_units_and_none_marked_are_requests_whichever_way_is_better(self) -> None:
        """Row 24: 30 couriers, 6,000 requests."""
        d = np.full(30, 200.0)
        none, every = Bounded.of(np.zeros(30), d), Bounded.of(d, d)
        assert none is not None
        assert every is not None
        assert (none.n, every.n) == (6_000, 30)
        assert (none.turned.n, every.turned.n) == (30, 6_000)
        assert (none.once_upper(0.05), every.turned.once_upper(0.05)) == pytest.approx((0.0005, 0.0005), rel=0.01)

    def test_clusters_are_units(self) -> None:
        y, d, cluster = np.array([1.0, 1, 0, 0]), np.ones(4), np.array([0, 0, 1, 1])
        assert Bounded.of(y, d, cluster) == Bounded.of(np.array([2.0, 0.0]), np.array([2.0, 2.0]))
        assert Bounded.of(np.zeros(0), np.zeros(0)) is None


class TestOtherWays:
    def test_by_normal(self) -> None:
        effect = compare(Sample(4_000, 0.05, 0.0475), Sample(4_000, 0.10, 0.09))
        assert by_normal(terms(0.01, 8_000), effect).state == "breach"
        same = compare(Sample(40_000, 0.05, 0.0475), Sample(40_000, 0.05, 0.0475))
        assert by_normal(terms(0.01, 80_000), same).state == "cleared"

    def test_once_the_plan_is_reached_the_bound_of_one_look_may_clear(self) -> None:
        effect = compare(Sample(4_500, 0.05, 0.0475), Sample(4_500, 0.05, 0.0475))
        assert by_normal(terms(0.009, 9_000, planned=20_000), effect).state == "open"
        assert by_normal(terms(0.009, 9_000, planned=9_000), effect).state == "cleared"

    def test_by_interval_an_end_that_is_none_decides_nothing(self) -> None:
        assert by_interval(terms(0.01, 40), Effect(0.0, 0.1, 0.1)).state == "open"
        assert by_interval(terms(0.01, 40), compare(Sample(20, 0.0, 0.01), Sample(20, 0.5, 0.01))).state == "breach"
        assert by_interval(terms(0.5, 40), compare(Sample(20, 0.0, 0.01), Sample(20, 0.01, 0.01))).state == "cleared"


class TestOneUnitIsOneDraw:
    """One customer with 8,000 requests, half of them refused, is no harm of a version that 3,000 people met."""

    def test_the_marks_of_one_unit_are_worth_one(self) -> None:
        y, d = np.zeros(2_957), np.ones(2_957)
        y[0], d[0] = 4_000.0, 8_000.0
        old, new = Bounded.of(np.zeros(3_000), np.ones(3_000)), Bounded.of(y, d)
        assert old is not None
        assert new is not None
        assert new.marks[0] == 1.0
        assert bounded.difference_above(old, new, 0.05 / 3) < 0.005
        assert bounded.difference_above(old, Bounded(new.mean, new.n), 0.05 / 3) > 0.005  # what was believed before

    def test_a_share_of_people_is_what_it_was(self) -> None:
        made = Bounded.of(np.repeat([1.0, 0.0], [12, 88]), np.ones(100))
        assert made is not None
        assert made.marks == (12.0, 88.0)
        assert made.lower(0.05) == Bounded(0.12, made.n).lower(0.05)

    def test_the_worst_are_those_that_add_most_beyond_the_limit(self) -> None:
        y, d = np.array([1.0, 9.0, 0.0, 50.0, 2.0, 3.0]), np.array([1.0, 10.0, 99.0, 100.0, 2.0, 3.0])
        assert worst(y, d, 0.1, lower_is_better=True).tolist() == [3, 1, 5, 4]
        assert worst(y, d, 0.1, lower_is_better=False)[0] == 2


@pytest.mark.parametrize(("bots", "broken"), [(1, False), (LEAST_UNITS - 1, False), (40, True)])
def test_fewer_than_five_customers_break_no_limit(bots: int, broken: bool) -> None:
    """Each of them makes 300 requests that fail and take 900 ms; the others' are as before."""
    tables = trial(7, n=1_600, event=(0.3, 0.3))
    x = tables["exposures"]
    x["latency_ms"] = np.random.default_rng(8).normal(100.0, 10.0, len(x))
    who = x[x["arm"] == "canary"].head(bots)
    more = pd.concat([who] * 300, ignore_index=True)
    more["exposure_id"] = [f"more-{i}" for i in range(len(more))]
    more["error"], more["latency_ms"] = "rate limited", 900.0
    tables["exposures"] = pd.concat([x, more], ignore_index=True).sort_values("occurred_at", ignore_index=True)
    world = World()
    world.declare(0, assignment="random", allocation={"v1": 0.5, "v2": 0.5}, planned_units=1_600)
    found = analyse(together(tables, world.tables()), MARCH, freeze_id="f", as_of_us=LATER)
    rows = {e.metric: e for e in found.estimates if e.dimension == "all"}
    states = {rows[name].guard for name in ("error_rate", "latency_p95")}
    assert ("breach" in states) == broken
    (verdict,) = {e.verdict for e in rows.values()} - {None}
    assert (verdict == "roll back") == broken
    said = [f for f in rows["error_rate"].facts if isinstance(f, OneUnit)]
    assert bool(said) == (bots < LEAST_UNITS)
    assert all(f.treated and f.share >= 0.14 for f in said)
