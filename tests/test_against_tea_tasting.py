"""Another library on the same data: 200 random data sets, every figure it gives to nine digits.

tea-tasting joins the two variants for θ as we do (`control + treatment`, n − 1), and has n − 1 under shares too.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import tea_tasting as tt
from tea_tasting.metrics.mean import MeanResult

from analysis.estimators.cuped import CovariateMoments, adjusted_means, adjusted_ratios
from analysis.lift import Sample, compare, log_ratio, mean_sample, proportion_sample, ratio_sample
from analysis.moments import Moments, cells


def random_data(seed: int) -> pd.DataFrame:
    """Arms of any size, money with many zeros, answers per person, and all of it from before as well."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(60, 900))
    variant = (rng.random(n) < rng.uniform(0.2, 0.8)).astype(int)
    variant[:10], variant[10:20] = 0, 1
    level = rng.gamma(rng.uniform(0.5, 3), rng.uniform(0.5, 40), n)
    bought = rng.random(n) < rng.uniform(0.2, 1)
    bought[:20] = True
    answers, before = rng.integers(1, 5, n), rng.integers(1, 6, n)
    return pd.DataFrame(
        {
            "variant": variant,
            "money": bought * level * rng.uniform(0.5, 1.5, n) * (1 + 0.2 * variant),
            "money_before": level * (rng.random(n) < 0.8),
            "share": (rng.random(n) < rng.uniform(0.1, 0.9)).astype(float),
            "sum": answers * (level + rng.uniform(0, 5, n)),
            "answers": answers,
            "sum_before": before * (level + rng.normal(0, 1, n)),
            "answers_before": before,
        }
    )


THEIRS = {
    "mean": tt.Mean("money", equal_var=False, use_t=True),
    "share": tt.Mean("share", equal_var=False, use_t=True),
    "ratio": tt.RatioOfMeans("sum", "answers", equal_var=False, use_t=True),
    "cuped mean": tt.Mean("money", "money_before", equal_var=False, use_t=True),
    "cuped ratio": tt.RatioOfMeans(
        "sum", "answers", "sum_before", "answers_before", equal_var=False, use_t=True
    ),
}  # fmt: skip


def moments(y: pd.Series, d: pd.Series | None = None) -> Moments:
    values = y.to_numpy(dtype=float)
    below = np.ones(len(values)) if d is None else d.to_numpy(dtype=float)
    return cells(values, below, np.zeros(len(values), dtype=np.int64), 1)[0]


def columns(arm: pd.DataFrame, *names: str) -> CovariateMoments:
    return CovariateMoments.of(arm[list(names)].to_numpy(dtype=float))


def ours(arms: list[pd.DataFrame]) -> dict[str, tuple[Sample, Sample]]:
    def both(made: list[Sample]) -> tuple[Sample, Sample]:
        return made[0], made[1]

    shares = [proportion_sample(moments(a["share"])) for a in arms]
    four = [columns(a, "sum", "answers", "sum_before", "answers_before") for a in arms]
    return {
        "mean": both([mean_sample(moments(a["money"])) for a in arms]),
        "share": both([Sample(s.n, s.mean, s.var * s.n / (s.n - 1)) for s in shares]),
        "ratio": both([ratio_sample(moments(a["sum"], a["answers"])) for a in arms]),
        "cuped mean": adjusted_means(*[columns(a, "money", "money_before") for a in arms]),
        "cuped ratio": adjusted_ratios(*four),
    }


def figures(samples: tuple[Sample, Sample]) -> list[float | None]:
    effect, lift = compare(*samples), log_ratio(*samples)
    assert lift is not None
    assert effect.se is not None
    statistic = effect.effect / effect.se
    interval = effect.interval() or (None, None)
    return [
        effect.control,
        effect.treated,
        effect.effect,
        *interval,
        effect.p,
        statistic,
        lift.lift,
        lift.low,
        lift.high,
    ]


def their_figures(found: MeanResult) -> list[float]:
    return [
        found.control, found.treatment, found.effect_size, found.effect_size_ci_lower, found.effect_size_ci_upper,
        found.pvalue, found.statistic, found.rel_effect_size, found.rel_effect_size_ci_lower,
        found.rel_effect_size_ci_upper,
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(200))
def test_every_figure(seed: int) -> None:
    data = random_data(seed)
    theirs = tt.Experiment(THEIRS).analyze(data)
    mine = ours([data[data["variant"] == arm] for arm in (0, 1)])
    assert set(mine) == set(THEIRS)
    for name, samples in mine.items():
        assert figures(samples) == pytest.approx(their_figures(theirs[name]), rel=1e-9, abs=1e-12), name


def test_adjusting_changes_the_figures() -> None:
    """Otherwise an adjustment that both leave out would agree as well."""
    data = random_data(0)
    mine = ours([data[data["variant"] == arm] for arm in (0, 1)])
    for plain, adjusted in (("mean", "cuped mean"), ("ratio", "cuped ratio")):
        assert compare(*mine[adjusted]).effect != pytest.approx(compare(*mine[plain]).effect, rel=1e-3)
        assert (compare(*mine[adjusted]).se or 0) < 0.95 * (compare(*mine[plain]).se or 0)


def test_shares_differ_only_by_their_denominator() -> None:
    """p(1 − p) over n, theirs over n − 1: ours is the smaller one by that factor and no more."""
    data = random_data(1)
    for arm in (0, 1):
        share = data.loc[data["variant"] == arm, "share"]
        sample = proportion_sample(moments(share))
        assert sample.var == pytest.approx(share.var(ddof=0), rel=1e-12)
