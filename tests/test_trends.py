"""Zones that nobody drew: did they go alike before, and what would a mix of the others have done?"""

from __future__ import annotations

import csv
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize

from analysis.estimators.synthetic import simplex_weights, synthetic_effect
from tests.frames import together
from tests.test_zone_designs import adopted, analysed, declared, row, traffic, zones

CIGARETTES = Path(__file__).parent / "data" / "proposition_99.csv"
"""Abadie, Diamond & Hainmueller 2010: packs a head in 39 states, 1970 to 2000, as packaged in synthdid-py (BSD)."""


def states() -> tuple[list[str], np.ndarray]:
    with CIGARETTES.open(encoding="utf-8") as data:
        rows = list(csv.reader(data))[1:]
    return [r[0] for r in rows], np.array([[float(v) for v in r[1:]] for r in rows])


class TestSynthetic:
    def test_proposition_99(self) -> None:
        """Six states, a gap of −19.5 packs; synthdid-py 0.1.0 has −19.54 (0.395, 0.232, 0.205, 0.108)."""
        names, rates = states()
        treated = np.array([name == "California" for name in names])
        found = synthetic_effect(rates, treated, 19)
        assert found is not None
        assert found.effect == pytest.approx(-19.5136, abs=1e-3)
        others = [name for name in names if name != "California"]
        large = {s: round(float(w), 3) for s, w in zip(others, found.weights, strict=True) if w > 0.1}
        assert large == {"Connecticut": 0.109, "Montana": 0.232, "Nevada": 0.205, "Utah": 0.394}
        assert found.misfit == pytest.approx(1.6564, abs=1e-3)
        assert (found.p, found.placebos) == (pytest.approx(3 / 39), 38)

    def test_weights_are_the_best_of_the_simplex(self) -> None:
        rng = np.random.default_rng(1)
        for _ in range(20):
            donors, target = rng.normal(5, 1, (8, 4)), rng.normal(5, 1, 8)
            weights = simplex_weights(donors, target)
            assert weights.sum() == pytest.approx(1)
            assert (weights >= 0).all()
            least = float(np.sum((donors @ weights - target) ** 2))
            steps = [w for w in product(range(21), repeat=4) if sum(w) == 20]
            grid = min(float(np.sum((donors @ np.array(w) / 20 - target) ** 2)) for w in steps)
            assert least <= grid + 1e-9
            by_slsqp = minimize(
                lambda w, x=donors, y=target: float(np.sum((x @ w - y) ** 2)), np.full(4, 0.25), method="SLSQP",
                bounds=[(0, 1)] * 4, constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
            )  # fmt: skip
            assert least == pytest.approx(by_slsqp.fun, abs=1e-4)

    @pytest.mark.parametrize(("zones", "treated", "first"), [(12, 4, 10), (9, 2, 10), (12, 1, 5), (12, 0, 10)])
    def test_is_for_few_zones_of_many_with_a_past(self, zones: int, treated: int, first: int) -> None:
        rates = np.random.default_rng(2).normal(5, 1, (zones, 20))
        assert synthetic_effect(rates, np.arange(zones) < treated, first) is None

    def test_a_rank_alarms_as_rarely_as_it_says(self) -> None:
        rng, alarms = np.random.default_rng(3), 0
        for _ in range(100):
            rates = rng.normal(5, 1, (24, 1)) + rng.normal(0, 0.3, (24, 30)).cumsum(axis=1)
            found = synthetic_effect(rates, np.arange(24) == 0, 20)
            assert found is not None
            alarms += found.p <= 0.1
        assert alarms <= 20


class TestTrends:
    def run(self, seed: int, drift: float = 0.0, gain: float = 0.0, treated: int = 4, **more: str) -> object:
        """Zones to be treated gain so much a week, from six weeks before the start on; v2 gains so much more."""
        rng = np.random.default_rng(seed)
        moving = lambda z, d: drift * (d + 40) / 7 * (z < treated)  # noqa: E731
        tables = together(
            traffic(rng, adopted(treated, treated), zones=14, days=(-40, 24), per_day=60, gain=gain, drift=moving),
            declared({"day": 3.0, "zones": zones(treated)} | more),
        )
        return analysed(tables)

    def test_what_levels_alone_would_promote_is_blocked(self) -> None:
        """Two points a week, for weeks: the difference of differences takes it for an effect."""
        for seed in range(5):
            found = self.run(seed, drift=0.02)
            (check,) = [c for c in found.checks if c.check == "pre_trend:rebooked"]
            assert (check.state, row(found).verdict) == ("block", "repair the data first")
            assert check.value == pytest.approx(0.02, abs=0.01)
            assert "moved away from the others in rebooked before the start" in row(found).reason

    def test_zones_that_went_alike_are_not(self) -> None:
        blocked = 0
        for seed in range(30):
            found = self.run(seed, gain=0.05)
            (check,) = [c for c in found.checks if c.check == "pre_trend:rebooked"]
            blocked += check.state == "block"
        assert blocked <= 1

    def test_where_chance_chose_nothing_is_asked(self) -> None:
        assert not [c for c in self.run(1, assignment="random").checks if c.check.startswith("pre_trend")]

    def test_a_mix_stands_beside_few_zones_and_decides_nothing(self) -> None:
        found = self.run(2, gain=0.1, treated=2)
        plain, mix = [e for e in found.estimates if e.metric == "rebooked"]
        assert (plain.estimator, mix.estimator) == ("staged", "synthetic_control")
        assert mix.effect == pytest.approx(0.1, abs=0.04)
        assert (mix.decided_by, mix.effect_low, plain.decided_by) == (None, None, "permutation")
        assert mix.reason.startswith("synthetic control, for description: beside a mix of ")
