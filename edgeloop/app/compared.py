"""What `edgeloop.compare` and `edgeloop.compare_moments` give, with columns named as in ``estimates``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

import pandas as pd

from analysis import lift
from analysis.estimators import always_valid, skewed

Kind = Literal["mean", "proportion", "nps"]


@dataclass(frozen=True, slots=True)
class Compared:
    """Treated − control. Figures, effect and its intervals in the value's own unit; lift is a ratio (0.179 = +17.9 %).

    None: it cannot be told (fewer than two units in an arm, nothing varies, or for the lift a mean that is not
    positive). ``always_low`` and ``always_high`` hold however often one looks, and are there with ``planned_units``.
    ``df`` are Student's degrees of freedom; ``clusters`` and ``strata`` how many units lie in, where such are named.
    """

    estimator: str
    n_control: int
    n_treated: int
    control: float
    treated: float
    effect: float
    se: float | None
    effect_low: float | None
    effect_high: float | None
    p: float | None
    lift: float | None
    lift_low: float | None
    lift_high: float | None
    always_low: float | None = None
    always_high: float | None = None
    always_p: float | None = None
    df: float | None = None
    clusters: int | None = None
    strata: int | None = None

    def frame(self) -> pd.DataFrame:
        """The same as a frame of one row."""
        return pd.DataFrame([asdict(self)])


def told(
    estimator: str,
    n: tuple[int, int],
    effect: lift.Comparison,
    ratio: lift.Lift | None,
    alpha: float,
    planned_units: int | None,
    clusters: int | None = None,
    strata: int | None = None,
) -> Compared:
    """An effect and its lift as a row; ``n`` units of (control, new version)."""
    if isinstance(effect, skewed.SkewedEffect):
        estimator += "+skew"
    low, high = effect.interval(alpha) or (None, None)
    always: tuple[float | None, float | None, float | None] = (None, None, None)
    df = effect.df if isinstance(effect, lift.Effect | skewed.SkewedEffect) else None
    between = df if clusters is not None else None
    if planned_units is not None and effect.se:
        always = (
            *always_valid.interval(effect.effect, effect.se, sum(n), planned_units, alpha, between),
            always_valid.p_value(effect.effect, effect.se, sum(n), planned_units, between),
        )
    return Compared(
        estimator, *n, effect.control, effect.treated, effect.effect, effect.se, low, high, effect.p,
        ratio.lift if ratio else None, ratio.low if ratio else None, ratio.high if ratio else None, *always, df,
        clusters, strata,
    )  # fmt: skip
