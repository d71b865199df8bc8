"""Sample ratio mismatch and the share that drifts."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from analysis.srm import ChiSquare, alarm, combined, sample_ratio, share_drift


def test_kohavis_example() -> None:
    """821,588 against 815,482 planned as halves: p = 1.8e-6."""
    test = sample_ratio({"v1": 821_588, "v2": 815_482}, {"v1": 0.5, "v2": 0.5})
    assert test is not None
    assert f"{test.p:.1e}" == "1.8e-06"
    assert test.df == 1
    assert alarm(test.p, 1)


def test_versions_without_weight_are_no_degree_of_freedom() -> None:
    observed = {"v1": 5_000, "v2": 5_200}
    bare = sample_ratio(observed, {"v1": 1, "v2": 1})
    padded = sample_ratio(observed | {"v0": 3}, {"v1": 1, "v2": 1, "v3": 0, "v0": 0})
    assert bare is not None
    assert padded == bare


def test_weights_need_not_sum_to_one() -> None:
    observed = {"v1": 950, "v2": 50, "holdout": 100}
    whole = sample_ratio(observed, {"v1": 95, "v2": 5, "holdout": 5})
    parts = sample_ratio(observed, {"v1": 0.95 / 1.05, "v2": 0.05 / 1.05, "holdout": 0.05 / 1.05})
    assert whole is not None
    assert parts is not None
    assert whole.p < 0.001
    assert (parts.statistic, parts.df) == (pytest.approx(whole.statistic), 2)


def test_an_arm_that_nobody_entered_is_a_mismatch_and_not_a_missing_arm() -> None:
    test = sample_ratio({"v1": 400}, {"v1": 0.9, "v2": 0.1})
    assert test is not None
    assert test.p < 1e-9


@pytest.mark.parametrize(
    ("observed", "weights", "why"),
    [
        ({"v1": 70, "v2": 9}, {"v1": 0.9, "v2": 0.1}, "7.9 units expected in the smaller arm"),
        ({"v1": 500}, {"v1": 1.0}, "one version only"),
        ({"v1": 500, "v2": 500}, {"v1": 1.0, "v2": 0.0}, "one version with weight"),
        ({}, {"v1": 0.5, "v2": 0.5}, "nobody"),
    ],
)
def test_where_nothing_can_be_tested(observed: dict[str, int], weights: dict[str, float], why: str) -> None:
    assert sample_ratio(observed, weights) is None, why


def test_stages_together() -> None:
    assert combined([ChiSquare(3.0, 1, 0.08), ChiSquare(5.0, 2, 0.08)]) == ChiSquare(8.0, 3, stats.chi2.sf(8.0, 3))
    assert combined([]) is None


def test_the_alarm_gets_stricter_with_every_stage() -> None:
    assert alarm(0.0009, 1)
    assert not alarm(0.0009, 2)


class TestShareDrift:
    """Without a declared allocation the share must at least be the same every day."""

    def test_is_the_chi_square_test_of_days_by_arm(self) -> None:
        control, treated = np.array([100, 120, 90, 110]), np.array([50, 40, 60, 55])
        test = share_drift(control, treated)
        reference = stats.chi2_contingency([control, treated], correction=False)
        assert test is not None
        assert (test.statistic, test.df, test.p) == pytest.approx((reference.statistic, 3, reference.pvalue))

    def test_a_ramp_inside_a_stage_is_seen(self) -> None:
        control, treated = np.array([950] * 5 + [500] * 5), np.array([50] * 5 + [500] * 5)
        test = share_drift(control, treated)
        assert test is not None
        assert test.p < 1e-100

    def test_thin_days_are_joined(self) -> None:
        """One unit of the small arm a day: joined five by five, or the statistic would not follow its distribution."""
        test = share_drift(np.full(30, 20), np.full(30, 1))
        assert test is not None
        assert test.df == 5
        assert test.p == pytest.approx(1.0)

    def test_false_alarms_are_as_rare_as_promised_on_thin_days(self) -> None:
        rng = np.random.default_rng(5)
        ps = []
        for _ in range(400):
            units = rng.poisson(40, 28)
            treated = rng.binomial(units, 0.05)
            test = share_drift(units - treated, treated)
            assert test is not None
            ps.append(test.p)
        assert np.mean(np.array(ps) < 0.05) == pytest.approx(0.05, abs=0.035)
        assert sum(p < 0.001 for p in ps) <= 3

    @pytest.mark.parametrize(("control", "treated"), [([0, 0], [0, 0]), ([5, 5], [0, 0]), ([30], [30]), ([6], [4])])
    def test_where_nothing_can_be_tested(self, control: list[int], treated: list[int]) -> None:
        assert share_drift(np.array(control), np.array(treated)) is None
