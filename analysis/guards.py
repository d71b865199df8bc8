"""Has a guardrail been breached, cleared, or is it still open? One-sided and always-valid, so daily looks are free.

docs/meaning.md, "Guardrails". Harm h is the effect turned so that positive is worse; the margin m is what is forbidden.
"""

from __future__ import annotations

import math

from analysis.estimators import always_valid
from analysis.lift import Comparison
from analysis.verdict import ALPHA, POWER_Z_ONE_SIDED, Guard, days_left


def guard(
    metric: str,
    effect: Comparison,
    *,
    margin: float,
    lower_is_better: bool,
    n: int,
    planned_units: int,
    tests: int,
    entered: int,
    entries_per_day: float,
    window_days: float,
) -> Guard:
    """The state of one guardrail.

    Breach: the lower bound of h at α/tests lies above the margin. Cleared: the upper bound of h at α lies below it.

    Args:
        n: complete units of both arms.
        tests: guardrails × planned stages.
        entered: units that entered; entries per day: of the last week.
    """
    se = effect.se
    if se is None or se == 0:
        return Guard(metric, "open")
    harm = effect.effect if lower_is_better else -effect.effect
    if always_valid.lower_bound(harm, se, n, planned_units, ALPHA / tests) > margin:
        return Guard(metric, "breach")
    upper = always_valid.upper_bound(harm, se, n, planned_units, ALPHA)
    if upper < margin:
        return Guard(metric, "cleared", upper)
    left = days_left(
        se=se,
        practical=margin,
        complete=n,
        entered=entered,
        entries_per_day=entries_per_day,
        window_days=window_days,
        z=POWER_Z_ONE_SIDED,
    )
    return Guard(metric, "open", upper, left)


def rare_guard(metric: str, marked: tuple[int, int], units: tuple[int, int], margin: float) -> Guard:
    """A guardrail of shares with too few marks for a normal interval: cleared where even the exact bound is small.

    The bound is Poisson's upper 95 % limit of the new version's marks per unit, as if the old one had none.

    Args:
        marked: units with the mark (control, new version).
        units: units of the two arms.
    """
    if units[1] == 0:
        return Guard(metric, "open")
    upper = _poisson_upper(marked[1]) / units[1]
    return Guard(metric, "cleared" if upper < margin else "open", upper)


def _poisson_upper(events: int) -> float:
    """Upper 95 % limit of a Poisson mean; 3.0 for no event (the rule of three)."""
    from scipy import stats

    return float(stats.chi2.isf(ALPHA, 2 * (events + 1)) / 2) if events else -math.log(ALPHA)
