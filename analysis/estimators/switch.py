"""Everybody changed at once: what would the days after have been? A structural time series, judged by placebo dates.

Local level, day of week and a regression on untouched series (Brodersen et al. 2015, "Inferring causal impact using
Bayesian structural time-series models"). Its own interval rejects too many true nulls, so the same procedure is run at
dates before the switch, and their spread decides.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from analysis.lift import t_quantile, t_tail
from analysis.moments import FloatArray
from edgeloop.store.facts import AnyFact, FewDaysBefore, Said

LEAST_BEFORE, LEAST_DATES = 56, 40
_HISTORY = 14  # days that a placebo date needs before it
_SEASON_HISTORY = 548  # the same where a year has a shape: one and a half
_YEAR_DAYS, _HARMONICS = 365.25, 3


@dataclass(frozen=True, slots=True, eq=False)
class SwitchEffect:
    """The effect of a full switch, like `analysis.lift.Effect`; ``control`` is the counterfactual's mean."""

    control: float
    treated: float
    effect: float
    refusal: AnyFact | None
    placebos: FloatArray = field(repr=False)
    """The effect that the same procedure finds at each placebo date."""
    df: float = 1.0
    """How many placebos that do not overlap would tell as much of their spread (`_told_by`)."""

    @property
    def se(self) -> float | None:
        """The placebos' root mean square."""
        return float(np.sqrt(np.mean(self.placebos**2))) if self.refusal is None else None

    @property
    def p(self) -> float | None:
        """The larger of the placebos' rank, (1 + dates at least as large) / (1 + dates), and a t test of their spread.

        Spans of placebo dates overlap, so the rank alone rejects true nulls too often (7–11 % of AR(0.5) series).
        """
        se = self.se
        if se is None:
            return None
        rank = (1 + int(np.count_nonzero(np.abs(self.placebos) >= abs(self.effect)))) / (1 + len(self.placebos))
        return max(rank, 2 * t_tail(abs(self.effect) / se, self.df) if se else rank)

    def interval(self, alpha: float = 0.05) -> tuple[float, float] | None:
        """Effect ± the placebos' own quantile: it excludes 0 exactly where p ≤ alpha; infinite where dates are few."""
        se = self.se
        if se is None:
            return None
        n = len(self.placebos)
        allowed = math.floor(alpha * (n + 1) + 1e-9) - 1  # placebos that may be at least as large
        if allowed < 0:
            return -math.inf, math.inf
        half = max(float(np.sort(np.abs(self.placebos))[::-1][allowed]), t_quantile(alpha / 2, self.df) * se)
        return self.effect - half, self.effect + half


def switch_effect(
    sums: FloatArray,
    rows: FloatArray,
    switch_day: int,
    controls: FloatArray,
    *,
    regressors: int = 0,
    season: bool = False,
) -> SwitchEffect:
    """Mean per person after the switch less the counterfactual's, weighted by each day's people.

    The variances of the model are estimated once, on the days before the switch; each placebo date then only forgets
    what comes after it.

    Args:
        sums: the metric's sum of each day, shape (days,).
        rows: each day's people, shape (days,).
        switch_day: the first day after.
        controls: daily figures of what was not touched (other models, regressors), shape (days, k); k may be 0.
        regressors: how many of these, the first ones, are no models: they may step far from where they were before, so
            that what is not known of their coefficients widens the placebos (`_widened`).
        season: whether the year has a shape of its own. What a date knows of it is what the days before it tell, so
            placebo dates begin where one and a half years are known.
    """
    days, after = len(sums), len(sums) - switch_day
    there = rows > 0
    y = np.where(there, sums / np.maximum(rows, 1), np.nan)
    plain = _mean(sums, rows, 0, switch_day), _mean(sums, rows, switch_day, days)
    dates = list(range(_SEASON_HISTORY if season else _HISTORY, switch_day - after + 1)) if after > 0 else []
    refusal = _refusal(switch_day, after, len(dates))
    if refusal is not None or np.nanstd(y[:switch_day]) == 0:
        why = refusal or Said("nothing varied before")
        return SwitchEffect(plain[0], plain[1], plain[1] - plain[0], why, np.zeros(0))
    scale = float(np.nanstd(y[:switch_day]))
    center = float(np.nanmean(y[:switch_day]))
    z = (y - center) / scale
    exog, kept = _standard(controls, switch_day, regressors)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fit that has not settled shows in the placebos' spread
        model = _model(z[:switch_day], None if exog is None else exog[:switch_day], season=season)
        fitted = model.fit(disp=False)
        foretold = _foretold(z, exog, fitted.params, switch_day, after, season=season)
        errors = np.asarray(fitted.cov_params()) if kept else np.zeros((0, 0))
    found = [_gap(z, rows, foretold(date), date) * scale for date in [switch_day, *dates]]
    effect, placebos = found[0], np.array(found[1:])
    if exog is not None and kept:
        k = exog.shape[1]
        errors = errors[-k:, -k:][:kept, :kept] * scale**2
        placebos = placebos * _widened(placebos, exog[:, :kept], errors, rows, [switch_day, *dates], after)
    return SwitchEffect(plain[1] - effect, plain[1], effect, None, placebos, _told_by(len(dates), after))


def _widened(
    placebos: FloatArray, exog: FloatArray, errors: FloatArray, rows: FloatArray, dates: list[int], after: int
) -> float:
    """By how much what is not known of the coefficients widens the placebos' spread.

    x̄'Σx̄ is the variance that it adds to a span whose regressors lie x̄ from their mean before the switch (as of any
    prediction by regression). What the placebos' own spans have of it, they show; a step at the switch has more.

    Args:
        exog: standardised on the days before the switch, shape (days, k).
        errors: Σ, of the coefficients in the metric's unit, shape (k, k).
        dates: the switch, then the placebo dates.
    """
    added = []
    for date in dates:
        weight = rows[date : date + after]
        x = weight @ exog[date : date + after] / max(float(weight.sum()), 1.0)
        added.append(float(x @ errors @ x))
    more, spread = added[0] - float(np.mean(added[1:])), float(np.mean(placebos**2))
    return math.sqrt(1 + more / spread) if math.isfinite(more) and more > 0 and spread > 0 else 1.0


def _told_by(dates: int, after: int) -> float:
    """The degrees of freedom of the placebos' mean square, from spans of ``after`` days that begin a day apart.

    Spans h days apart share 1 − h/after of their days, so their squares correlate with that squared, and the mean of n
    squares varies like that of n²/Σ(1 − |h|/after)² independent ones (Bartlett 1946).
    """
    h = np.arange(-min(after, dates) + 1, min(after, dates))
    return dates**2 / float(((dates - np.abs(h)) * (1 - np.abs(h) / after) ** 2).sum())


def _refusal(before: int, after: int, dates: int) -> AnyFact | None:
    if after <= 0:
        return Said("no complete day after")
    if before < LEAST_BEFORE or dates < LEAST_DATES:
        needed = max(LEAST_BEFORE, _HISTORY + after + LEAST_DATES - 1)
        return FewDaysBefore(before, needed, after)
    return None


def _model(y: FloatArray, exog: FloatArray | None, *, season: bool) -> Any:
    from statsmodels.tsa.statespace.structural import UnobservedComponents  # takes a second to load

    year: dict[str, Any] = {
        "freq_seasonal": [{"period": _YEAR_DAYS, "harmonics": _HARMONICS}], "stochastic_freq_seasonal": [False],
    }  # fmt: skip
    return UnobservedComponents(
        y, level="llevel", seasonal=7, stochastic_seasonal=False, exog=exog, **(year if season else {})
    )


def _foretold(
    z: FloatArray, exog: FloatArray | None, parameters: FloatArray, switch_day: int, after: int, *, season: bool
) -> Callable[[int], FloatArray]:
    """What the days before a date foretell of the ``after`` days from it on, for any date up to the switch.

    One pass of the filter knows the state before each day; from there the transition leads on, as if no later day had
    been seen.
    """
    known = z.copy()
    known[switch_day:] = np.nan
    passed = _model(known, exog, season=season).filter(parameters, return_ssm=True)
    transition, design = passed.transition[:, :, 0], passed.design[0, :, 0]
    ahead = np.empty((after, len(design)))
    for h in range(after):
        ahead[h] = design
        design = design @ transition
    regression = np.broadcast_to(passed.obs_intercept[0], len(z))

    def of(date: int) -> FloatArray:
        found: FloatArray = ahead @ passed.predicted_state[:, date] + regression[date : date + after]
        return found

    return of


def _gap(z: FloatArray, rows: FloatArray, foretold: FloatArray, date: int) -> float:
    """What was seen from a date on less what the days before it foretell, weighted by each day's people."""
    seen = slice(date, date + len(foretold))
    weight = rows[seen] * ~np.isnan(z[seen])
    return float(np.nansum(weight * (z[seen] - foretold)) / weight.sum()) if weight.sum() else 0.0


def _standard(controls: FloatArray, switch_day: int, regressors: int) -> tuple[FloatArray | None, int]:
    """Of what varied before the switch, for nothing else has a coefficient; and how many regressors that leaves."""
    before = controls[:switch_day]
    spread = before.std(axis=0) if controls.shape[1] else np.zeros(0)
    varies = spread > 0
    if not varies.any():
        return None, 0
    found: FloatArray = (controls[:, varies] - before.mean(axis=0)[varies]) / spread[varies]
    return found, int(np.count_nonzero(varies[:regressors]))


def _mean(sums: FloatArray, rows: FloatArray, begin: int, end: int) -> float:
    people = float(rows[begin:end].sum())
    return float(sums[begin:end].sum()) / people if people else 0.0
