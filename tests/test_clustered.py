"""CR2 against two R packages, against the textbook's matrices, and where strata and clusters meet."""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.estimators import always_valid, clustered
from analysis.estimators.clustered import ClusterSums
from analysis.lift import Effect, compare, mean_sample, welch_df
from analysis.moments import FloatArray, IntArray, cells

# A data set that a formula makes, so that anybody can ask another program about it.
NUMBER = np.arange(120)
CLUSTER = (NUMBER * NUMBER + 3 * NUMBER) % 11
STRATUM = NUMBER % 3
_LATER = (NUMBER * 7 + NUMBER // 5) % 10
TREATED = (np.array([2, 5, 8])[STRATUM] > _LATER).astype(np.int64)
Y = ((NUMBER * 37) % 101) / 10 + 0.7 * (CLUSTER % 4) + 0.5 * TREATED * (CLUSTER % 3)
D = 1.0 + (NUMBER * 5) % 4
ONES = np.ones(len(NUMBER))


def effect_of(sums: ClusterSums) -> tuple[float, float, float]:
    e = clustered.compare(sums)
    assert isinstance(e, Effect)
    assert e.se is not None
    assert e.df is not None
    return e.effect, e.se, e.df


@pytest.mark.parametrize(
    ("sums", "effect", "se", "df"),
    [
        # coef_test(lm(y ~ t), vcov = "CR2", cluster = g); estimatr 1.0.0's lm_robust(se_type = "CR2") says the same.
        (ClusterSums.of(Y, ONES, TREATED, CLUSTER), -0.0427697441601769, 0.335029930900263, 4.7653894740963),
        # Each cluster in one arm alone: coef_test(lm(y ~ I(g %% 2)), …).
        (ClusterSums.of(Y, ONES, CLUSTER % 2, CLUSTER), 0.915826034430686, 1.25672278563116, 2.18359152281246),
        # A ratio: the regression of √d·y on √d·(1 − t) and √d·t without a constant, linear_contrast of the two.
        (ClusterSums.of(Y * D, D, TREATED, CLUSTER), 0.334989316239313, 0.250939798926203, 4.75826248730224),
        # Strata: lm(y ~ 0 + factor(2 s + t)), linear_contrast with the strata's shares.
        (ClusterSums.of(Y, ONES, TREATED, CLUSTER, STRATUM), 0.00746846343620811, 0.422913077562931, 4.52546452929741),
    ],
    ids=["inside clusters", "by cluster", "ratio", "strata"],
)
def test_figures_of_clubsandwich(sums: ClusterSums, effect: float, se: float, df: float) -> None:
    """clubSandwich 0.5.8 under R 4.2.2."""
    assert effect_of(sums) == pytest.approx((effect, se, df), rel=1e-12)


def test_the_logarithm_of_the_ratio_of_clubsandwich() -> None:
    """The contrast (−1/Ȳc, 1/Ȳt) of the cells' means: its SE and df, clubSandwich 0.5.8."""
    sums = ClusterSums.of(Y, ONES, TREATED, CLUSTER)
    control, treated = clustered.figures(sums)
    found = clustered.spread(sums, (1 / control, 1 / treated))
    assert found is not None
    assert (found.var**0.5, found.df) == pytest.approx((0.0569463538541574, 4.76565099217741), rel=1e-12)
    lift = clustered.log_ratio(sums)
    assert lift is not None
    assert np.log1p(lift.high) - np.log1p(lift.lift) == pytest.approx(0.148577115764726, rel=1e-11)


Drawn = tuple[FloatArray, FloatArray, IntArray, IntArray, IntArray]


@st.composite
def trials(draw: st.DrawFn) -> Drawn:
    """y, d, arm, cluster and stratum of some dozens of units; every cluster may have both arms and all strata."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    strata, clusters = draw(st.integers(1, 3)), draw(st.integers(4, 9))
    n = 30 * strata
    stratum = np.arange(n) % strata
    treated = (rng.random(n) < np.array([0.2, 0.5, 0.8])[stratum]).astype(np.int64)
    cluster = rng.integers(0, clusters, n)
    if draw(st.booleans()):  # drawn by cluster
        treated = (cluster % 2).astype(np.int64)
    d = rng.integers(1, 5, n).astype(np.float64) if draw(st.booleans()) else np.ones(n)
    y = d * (rng.normal(10.0, 1.0, n) + 0.5 * cluster + 0.2 * treated * cluster)
    return y, d, treated, cluster, stratum


def textbook(trial: Drawn, scale: tuple[float, float]) -> tuple[float, float, float]:
    """(effect, SE, df) by n × n matrices: A = (I − H_gg)^(−1/2), V = Σ(c'MX'A e)², ν = tr(Ω)²/Σ Ω²."""
    y, d, treated, cluster, stratum = trial
    n, strata = len(y), int(stratum.max()) + 1
    x = np.zeros((n, 2 * strata))
    x[np.arange(n), 2 * stratum + treated] = np.sqrt(d)
    inverse = np.linalg.inv(x.T @ x)
    beta = inverse @ x.T @ (y / np.sqrt(d))
    rest = y / np.sqrt(d) - x @ beta
    w = np.bincount(stratum, weights=d) / d.sum()
    c = np.zeros(2 * strata)
    c[0::2], c[1::2] = -w * scale[0], w * scale[1]
    annihilator = np.eye(n) - x @ inverse @ x.T
    rows, scores = [], []
    for g in np.unique(cluster):
        i = np.flatnonzero(cluster == g)
        values, vectors = np.linalg.eigh(annihilator[np.ix_(i, i)])
        row = c @ inverse @ x[i].T @ (vectors / np.sqrt(values)) @ vectors.T
        scores.append(float(row @ rest[i]))
        rows.append(annihilator[i].T @ row)
    omega = np.stack(rows) @ np.stack(rows).T
    return float(c @ beta), float(np.hypot.reduce(scores)), float(np.trace(omega) ** 2 / (omega**2).sum())


def every_cell_in_two_clusters(trial: Drawn) -> bool:
    _, _, treated, cluster, stratum = trial
    pairs = np.unique(np.stack([2 * stratum + treated, cluster]), axis=1)
    return bool((np.bincount(pairs[0], minlength=2 * (int(stratum.max()) + 1)) >= 2).all())


@given(trials())
def test_closed_form_is_the_textbooks(trial: Drawn) -> None:
    y, d, treated, cluster, stratum = trial
    if not every_cell_in_two_clusters(trial):
        return
    sums = ClusterSums.of(y, d, treated, cluster, stratum)
    assert effect_of(sums) == pytest.approx(textbook(trial, (1.0, 1.0)), rel=1e-9)
    control, new = clustered.figures(sums)
    found = clustered.spread(sums, (1 / control, 1 / new))
    assert found is not None
    assert (found.var**0.5, found.df) == pytest.approx(textbook(trial, (1 / control, 1 / new))[1:], rel=1e-9)
    alone = clustered.spread(sums, (1.0, 0.0))  # the control arm's own figure
    assert alone is not None
    assert (alone.var**0.5, alone.df) == pytest.approx(textbook(trial, (1.0, 0.0))[1:], rel=1e-9)


@given(trials(), st.integers(0, 2**32))
def test_neither_order_nor_names_of_clusters_and_strata_matter(trial: Drawn, seed: int) -> None:
    y, d, treated, cluster, stratum = trial
    rng = np.random.default_rng(seed)
    order, names, numbers = rng.permutation(len(y)), rng.permutation(50), rng.permutation(7)
    parts: list[npt.NDArray[np.generic]] = [y, d, treated, names[cluster], numbers[stratum]]
    one = clustered.compare(ClusterSums.of(y, d, treated, cluster, stratum))
    two = clustered.compare(ClusterSums.of(*(part[order] for part in parts)))  # type: ignore[arg-type]
    assert (one.effect, one.se, one.df) == pytest.approx((two.effect, two.se, two.df), rel=1e-9)


@given(trials())
def test_where_each_unit_is_a_cluster_the_variance_is_welchs(trial: Drawn) -> None:
    y, _, treated, _, _ = trial
    if not 2 <= treated.sum() <= len(y) - 2:
        return
    arms = cells(y, np.ones(len(y)), treated, 2)
    plain = compare(mean_sample(arms[0]), mean_sample(arms[1]))
    own = clustered.compare(ClusterSums.of(y, np.ones(len(y)), treated, np.arange(len(y))))
    assert (own.effect, own.se) == pytest.approx((plain.effect, plain.se), rel=1e-9)
    n = len(y) - int(treated.sum()), int(treated.sum())  # Satterthwaite's under the working model: equal variances
    assert own.df == pytest.approx(welch_df(1 / n[0], n[0], 1 / n[1], n[1]), rel=1e-9)


def lonely_scores(y: FloatArray, d: FloatArray, treated: IntArray, cluster: IntArray, stratum: IntArray) -> FloatArray:
    """Each cluster's score read off the docstring, stratum by stratum."""
    w = np.bincount(stratum, weights=d) / d.sum()

    def mean(who: npt.NDArray[np.bool_]) -> float:
        return float(y[who].sum() / d[who].sum())

    own = [mean((stratum == s) & (treated == 1)) - mean((stratum == s) & (treated == 0)) for s in range(len(w))]
    scores = np.zeros(int(cluster.max()) + 1)
    for s in range(len(w)):
        arms = [(stratum == s) & (treated == a) for a in (0, 1)]
        alone = [np.unique(cluster[arm]) for arm in arms if len(np.unique(cluster[arm])) == 1]
        if alone:
            scores[alone[0][0]] += w[s] * (own[s] - w @ own) / np.sqrt(1 - w[s])
            continue
        for arm, sign in zip(arms, (-1, 1), strict=True):
            for g in np.unique(cluster[arm]):
                who = arm & (cluster == g)
                h = d[who].sum() / d[arm].sum()
                rest = (y[who] - mean(arm) * d[who]).sum() / d[arm].sum()
                scores[g] += sign * w[s] * rest / np.sqrt(1 - h)
    return scores


@given(st.integers(0, 2**32), st.booleans())
def test_strata_that_lie_in_one_cluster_are_set_against_the_others(seed: int, each: bool) -> None:
    """``each``: every cluster is a stratum; else the last of three strata lies in a cluster of its own."""
    rng = np.random.default_rng(seed)
    n = 120
    cluster = np.arange(n) % 6
    stratum = cluster if each else np.array([0, 0, 0, 1, 1, 2])[cluster]
    treated = (np.arange(n) // 6 % 2).astype(np.int64)
    d = rng.integers(1, 4, n).astype(np.float64)

    def var_of(y: FloatArray) -> float:
        found = clustered.spread(ClusterSums.of(y, d, treated, cluster, stratum))
        assert found is not None
        return found.var

    y = rng.normal(5, 1, n) * d
    scores = lonely_scores(y, d, treated, cluster, stratum)
    assert var_of(y) == pytest.approx(float(scores @ scores), rel=1e-9)
    # The scores are linear in y: the working model's variance of them, and so ν, by one unit after the other.
    each_unit = np.stack([lonely_scores(row, d, treated, cluster, stratum) for row in np.diag(np.sqrt(d))], axis=1)
    omega = each_unit @ each_unit.T
    found = clustered.spread(ClusterSums.of(y, d, treated, cluster, stratum))
    assert found is not None
    assert found.df == pytest.approx(float(np.trace(omega) ** 2 / (omega**2).sum()), rel=1e-9)


def test_where_every_cluster_is_a_stratum_it_is_the_weighted_mean_of_the_clusters_effects() -> None:
    """Three villages of one size with effects 1, 2 and 6: SE = √(s²/3) of the three, and two degrees of freedom."""
    y = np.array([0.0, 0, 1, 1, 0, 0, 2, 2, 0, 0, 6, 6])
    treated = np.array([0, 0, 1, 1] * 3)
    village = np.repeat([0, 1, 2], 4)
    effect, se, df = effect_of(ClusterSums.of(y, np.ones(12), treated, village, village))
    assert effect == pytest.approx(3.0)
    assert se == pytest.approx(np.std([1.0, 2, 6], ddof=1) / np.sqrt(3))
    assert df == pytest.approx(2.0)


def test_an_arm_in_one_cluster_has_no_standard_error() -> None:
    y, ones = np.arange(1.0, 9.0), np.ones(8)
    treated = np.array([0, 0, 0, 1, 0, 0, 1, 1])
    apart = ClusterSums.of(y, ones, treated, np.array([0, 1, 2, 3, 0, 1, 3, 3]))
    # Two strata in one cluster: nothing is seen of how clusters differ.
    together = ClusterSums.of(y, ones, treated, np.zeros(8, dtype=np.int64), np.repeat([0, 1], 4))
    for sums in (apart, together):
        assert clustered.compare(sums).se is None
        assert clustered.log_ratio(sums) is None


def test_strata_that_one_arm_lacks_are_left_out() -> None:
    rest = STRATUM != 2
    stratum = np.where((STRATUM == 2), 2, STRATUM)
    kept = rest | (TREATED == 1)  # of the third only the new arm
    whole = ClusterSums.of(Y[kept], ONES[kept], TREATED[kept], CLUSTER[kept], stratum[kept])
    without = ClusterSums.of(Y[rest], ONES[rest], TREATED[rest], CLUSTER[rest], stratum[rest])
    assert effect_of(whole) == pytest.approx(effect_of(without), rel=1e-12)


def test_nothing_varies() -> None:
    found = clustered.compare(ClusterSums.of(np.full(8, 0.1), np.ones(8), NUMBER[:8] % 2, NUMBER[:8] // 2))
    assert (found.effect, found.se, found.p) == (0.0, 0.0, None)


def test_a_million_people_in_two_seconds() -> None:
    rng = np.random.default_rng(1)
    n = 1_000_000
    cluster, stratum = rng.integers(0, 5_000, n), rng.integers(0, 20, n)
    y, treated = rng.random(n), (rng.random(n) < 0.3).astype(np.int64)
    begun = time.process_time()
    clustered.compare(ClusterSums.of(y, np.ones(n), treated, cluster, stratum))
    assert time.process_time() - begun < 2.0


@pytest.mark.parametrize("df", [1.5, 4.0, 30.0, 1e9])
@pytest.mark.parametrize("effect", [-3.0, 0.4, 2.6, 9.0])
def test_always_valid_between_clusters_agrees_with_itself(effect: float, df: float) -> None:
    """p ≤ α exactly where the interval at α excludes 0; with very many clusters it is that of units."""
    p = always_valid.p_value(effect, 1.0, 400, 5_000, df)
    for alpha in (0.2, 0.05, 0.001):
        low, high = always_valid.interval(effect, 1.0, 400, 5_000, alpha, df)
        assert (p <= alpha) == (low > 0 or high < 0)
        assert low <= always_valid.interval(effect, 1.0, 400, 5_000, alpha)[0] + 1e-6
    bounds = [always_valid.lower_bound(effect, 1.0, 400, 5_000, 0.05, d) for d in (df, None)]
    assert bounds[0] is not None
    assert bounds[0] <= (bounds[1] or 0.0) + 1e-6
    if df > 1e6:
        assert p == pytest.approx(always_valid.p_value(effect, 1.0, 400, 5_000), rel=1e-6)


def test_daily_looks_at_eight_clusters_keep_their_promise() -> None:
    """22 looks at people who enter evenly: as if units were drawn one by one 12 % alarm, with Student's tail 1 %."""
    rng = np.random.default_rng(1)
    alarms = np.zeros(2)
    for _ in range(200):
        n = 4_000
        size = np.exp(0.8 * rng.standard_normal(8))
        cluster = rng.choice(8, n, p=size / size.sum())
        treated = (rng.random(n) < 0.5).astype(np.int64)
        y = (rng.random(n) < rng.beta(3.8, 15.2, 8)[cluster]).astype(np.float64)
        hit = np.zeros(2, dtype=bool)
        for day in range(7, 29):
            k = n * day // 28
            e = clustered.compare(ClusterSums.of(y[:k], ONES[:1].repeat(k), treated[:k], cluster[:k]))
            assert e.se is not None
            for i, df in enumerate((None, clustered.df_between(e))):
                hit[i] |= always_valid.p_value(e.effect, e.se, k, 5_000, df) <= 0.05
        alarms += hit
    assert alarms[0] >= 16
    assert alarms[1] <= 10
