"""`edgeloop.compare` with clusters and strata, `edgeloop.compare_moments`: figures from elsewhere come out alike."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import edgeloop
from edgeloop.errors import UsageError
from tests.test_clustered import CLUSTER, STRATUM, TREATED, D, Y

HILLSTROM = Path(__file__).resolve().parents[2] / "shared" / "data" / "hillstrom.csv"
ARMS: dict[str, Any] = {"control": "old", "treated": "new"}


def frame() -> pd.DataFrame:
    """The data set of `tests.test_clustered`, a row per unit."""
    return pd.DataFrame(
        {
            "who": [f"u{i}" for i in range(len(Y))], "arm": np.where(TREATED == 1, "new", "old"), "value": Y,
            "times": D, "whole": Y * D, "village": CLUSTER, "shift": STRATUM, "before": Y - (np.arange(len(Y)) % 7),
            "did": (Y > 6).astype(float),
        }
    )  # fmt: skip


# Moments


def test_the_landing_page_of_udacity() -> None:
    """17,489 of 145,274 against 17,264 of 145,310: z 1.3109, p 0.1899."""
    found = edgeloop.compare_moments(control=(145_274, 17_489), treated=(145_310, 17_264), kind="proportion")
    assert (found.n_control, found.n_treated) == (145_274, 145_310)
    assert found.se is not None
    assert found.p is not None
    assert round(-found.effect / found.se, 4) == 1.3109
    assert round(found.p, 4) == 0.1899
    assert found.estimator == "difference_in_means"


@pytest.mark.skipif(not HILLSTROM.exists(), reason="the Hillstrom data is not here")
def test_the_vectors_of_hillstrom_from_their_sums() -> None:
    data = pd.read_csv(HILLSTROM)
    arms = [data.loc[data["segment"] == name, "spend"] for name in ("No E-Mail", "Mens E-Mail")]
    control, treated = ((len(y), y.sum(), (y**2).sum()) for y in arms)
    found = edgeloop.compare_moments(control=control, treated=treated, planned_units=5_000)
    told = (found.effect, found.effect_low, found.effect_high, found.se)
    assert [round(x or 0.0, 8) for x in told] == [0.76982716, 0.48513973, 1.05451458, 0.14524656]
    assert f"{found.p:.4e}" == "1.1638e-07"
    assert [round(x or 0.0, 8) for x in (found.lift, found.lift_low, found.lift_high)] == [
        1.17928877, 0.62843211, 1.91648606,
    ]  # fmt: skip
    assert [round(x or 0.0, 8) for x in (found.always_low, found.always_high)] == [0.30206564, 1.23758868]


@pytest.mark.parametrize(
    ("kind", "column", "options"), [("mean", "value", {}), ("proportion", "did", {"alpha": 0.1}), ("nps", "nps", {})]
)
def test_moments_say_what_rows_say(kind: Any, column: str, options: dict[str, Any]) -> None:
    rows = frame().assign(nps=lambda f: f["did"] * 200 - 100)
    arms = [rows.loc[rows["arm"] == arm, column] for arm in ("old", "new")]
    sums = [(len(y), y.sum()) if kind == "proportion" else (len(y), y.sum(), (y**2).sum()) for y in arms]
    by_sums = edgeloop.compare_moments(control=sums[0], treated=sums[1], kind=kind, planned_units=500, **options)
    by_rows = edgeloop.compare(rows, value=column, kind=kind, planned_units=500, **ARMS, **options)
    for name, value in by_rows.frame().iloc[0].items():
        got = getattr(by_sums, str(name))
        assert got == (pytest.approx(value, rel=1e-9) if isinstance(value, float) else value), name


def test_a_mean_and_a_standard_deviation_are_moments() -> None:
    """10 ± 3 of 50 units and 11.5 ± 4 of 60: Welch's t is 2.2444 with 106.89 degrees of freedom."""
    sums = [(n, n * m, (n - 1) * s**2 + n * m**2) for n, m, s in ((50, 10.0, 3.0), (60, 11.5, 4.0))]
    found = edgeloop.compare_moments(control=sums[0], treated=sums[1])
    a, b = 9 / 50, 16 / 60
    assert found.se == pytest.approx(math.sqrt(a + b))
    assert found.df == pytest.approx((a + b) ** 2 / (a**2 / 49 + b**2 / 59))
    assert round(found.effect / (found.se or 1.0), 4) == 2.2444
    assert round(found.df or 0.0, 2) == 106.89


@pytest.mark.parametrize(
    ("control", "options", "says"),
    [
        ((100, 20, 30), {"kind": "proportion"}, r"control is \(units, sum\) of a proportion, not 3 numbers"),
        ((100, 20), {}, r"control is \(units, sum, sum of squares\) of a mean, not 2 numbers"),
        ((100, 120), {"kind": "proportion"}, "120 of 100 units"),
        ((1, 1, 1), {}, "two or more, is needed"),
        ((10.5, 1, 1), {}, "a whole number"),
        ((10, math.nan, 1), {}, "plain sums"),
        ((10, 100, 900), {}, "squares of 10 numbers with the sum 100 add up to more"),
        ((10, 100, 2_000), {"alpha": 0}, "alpha is between 0 and 1"),
    ],
)
def test_sums_that_cannot_be_are_refused(control: tuple[float, ...], options: dict[str, Any], says: str) -> None:
    good = (50, 20) if options.get("kind") == "proportion" else (50, 100, 300)
    with pytest.raises(UsageError, match=says):
        edgeloop.compare_moments(control=control, treated=good, **options)


# Clusters and strata


@pytest.mark.parametrize(
    ("options", "effect", "se", "df", "estimator"),
    [
        ({"cluster": "village"}, -0.0427697441601769, 0.335029930900263, 4.7653894740963,
         "difference_in_means+cluster"),
        ({"value": "whole", "denominator": "times", "cluster": "village"}, 0.334989316239313, 0.250939798926203,
         4.75826248730224, "ratio+cluster"),
        ({"cluster": "village", "strata": "shift"}, 0.00746846343620811, 0.422913077562931, 4.52546452929741,
         "difference_in_means+cluster+strata"),
    ],
)  # fmt: skip
def test_figures_of_clubsandwich_through_a_frame(
    options: dict[str, Any], effect: float, se: float, df: float, estimator: str
) -> None:
    """The vectors of `tests.test_clustered`, from clubSandwich 0.5.8."""
    found = edgeloop.compare(frame(), **{"value": "value", **ARMS, **options})
    assert (found.effect, found.se, found.df) == pytest.approx((effect, se, df), rel=1e-12)
    assert (found.estimator, found.clusters, found.strata) == (estimator, 6, 3 if "strata" in options else None)


def test_strata_alone_of_estimatr() -> None:
    """lm_lin(y ~ t, covariates = ~ factor(s), se_type = "HC2") of estimatr 1.0.0; columns may be several."""
    found = edgeloop.compare(frame(), value="value", strata="shift", **ARMS)
    assert (found.effect, found.se) == pytest.approx((0.00746846343620374, 0.71475464839097214), rel=1e-12)
    assert (found.estimator, found.clusters, found.strata) == ("difference_in_means+strata", None, 3)
    twice = edgeloop.compare(
        frame().assign(late=frame()["shift"] == 2), value="value", strata=["shift", "late"], **ARMS
    )
    assert (twice.effect, twice.se, twice.strata) == pytest.approx((found.effect, found.se, 3))


@pytest.mark.skipif(not HILLSTROM.exists(), reason="the Hillstrom data is not here")
def test_hillstrom_by_where_people_live() -> None:
    """Every twentieth row, kinds of place × history as 21 clusters: clubSandwich 0.5.8; as strata: estimatr 1.0.0."""
    data = pd.read_csv(HILLSTROM)
    data = data[data["segment"].isin(["No E-Mail", "Mens E-Mail"])].iloc[::20]
    data = data.assign(place=data["zip_code"] + data["history_segment"])
    arms: dict[str, Any] = {"arm": "segment", "control": "No E-Mail", "treated": "Mens E-Mail"}
    spend = edgeloop.compare(data, value="spend", cluster="place", **arms)
    assert (spend.n_control + spend.n_treated, spend.clusters) == (2_131, 21)
    assert (spend.effect, spend.se, spend.df, spend.p) == pytest.approx(
        (1.69388759967, 0.538663373968, 10.0574149553, 0.0103576110505), rel=1e-10
    )
    assert (spend.effect_low, spend.effect_high) == pytest.approx((0.494598897646, 2.89317630168), rel=1e-10)
    visit = edgeloop.compare(data, value="visit", kind="proportion", cluster="place", **arms)
    assert (visit.effect, visit.se, visit.p) == pytest.approx((0.0978009779305, 0.0147581543282, 5.71926172118e-05))
    placed = edgeloop.compare(data, value="spend", strata="zip_code", **arms)
    assert (placed.effect, placed.se) == pytest.approx((1.68542193195, 0.597357889567), rel=1e-10)


def test_rows_of_one_unit_are_in_one_village() -> None:
    halves = pd.concat([frame().assign(value=Y / 2)] * 2)
    whole = edgeloop.compare(frame(), value="value", cluster="village", strata="shift", **ARMS)
    parts = edgeloop.compare(halves, value="value", unit="who", cluster="village", strata="shift", **ARMS)
    assert parts.frame().iloc[0].tolist() == pytest.approx(whole.frame().iloc[0].tolist(), nan_ok=True)
    with pytest.raises(UsageError, match="village differs between rows of one who"):
        edgeloop.compare(
            halves.assign(village=np.arange(len(halves)) % 9), value="value", unit="who", cluster="village", **ARMS
        )


def test_what_was_known_before_inside_strata() -> None:
    plain = edgeloop.compare(frame(), value="value", strata="shift", **ARMS)
    found = edgeloop.compare(frame(), value="value", covariate="before", strata="shift", **ARMS)
    assert found.estimator == "cuped+strata"
    assert (found.se or 0.0) < 0.7 * (plain.se or 0.0)
    lost = frame().assign(before=lambda f: f["before"].where(f.index % 3 > 0))
    some = edgeloop.compare(lost, value="value", covariate="before", cluster="village", **ARMS)
    assert some.estimator == "cuped+cluster"


@pytest.mark.parametrize(
    ("change", "options", "says"),
    [
        ({}, {"cluster": "hamlet"}, "no column 'hamlet'"),
        ({}, {"strata": ["shift", "hour"]}, "no column 'hour'"),
        ({"village": [None] * 5 + [1] * 115}, {"cluster": "village"}, r"5 units have no village.*dropna"),
        ({"shift": range(120)}, {"strata": "shift"}, "no stratum has two units of both arms"),
        ({}, {"cluster": "village", "skew": True}, "no correction for skew"),
        ({}, {"value": "whole", "denominator": "times", "covariate": "before", "cluster": "village"}, "no covariate"),
    ],
)
def test_what_cannot_be_nested_is_said(change: dict[str, Any], options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        edgeloop.compare(frame().assign(**change), **{"value": "value", **ARMS, **options})


def test_strata_of_one_arm_are_left_out() -> None:
    rows = frame()
    rows = rows[(rows["shift"] < 2) | (rows["arm"] == "new")]
    found = edgeloop.compare(rows, value="value", strata="shift", **ARMS)
    kept = edgeloop.compare(rows[rows["shift"] < 2], value="value", strata="shift", **ARMS)
    assert found == kept
    assert found.strata == 2
