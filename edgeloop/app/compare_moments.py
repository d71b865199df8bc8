"""``edgeloop.compare_moments(…)``: the product's estimators on counts and sums, to check a figure from elsewhere."""

from __future__ import annotations

import math
from collections.abc import Sequence

from analysis import lift, moments
from edgeloop.app.compared import Compared, Kind, told
from edgeloop.errors import UsageError


def compare_moments(
    *,
    control: Sequence[float],
    treated: Sequence[float],
    kind: Kind = "mean",
    alpha: float = 0.05,
    planned_units: int | None = None,
) -> Compared:
    """The same from what a dashboard or a paper tells of each arm, by `compare`'s own formulas.

    Args:
        control: (units, sum) of a proportion, whose sum is how many are 1; (units, sum, sum of squares) of a mean or
            an nps. From a mean m and a standard deviation s of n units: n, n·m, (n − 1)·s² + n·m².
        treated: the same of the arm of the new version.
        kind: as of `compare`.
        alpha: the intervals are at level 1 − alpha.
        planned_units: as of `compare`.

    Raises:
        UsageError: a number is missing, or no units have such sums.
    """
    if not 0 < alpha < 1:
        raise UsageError(f"alpha is between 0 and 1, not {alpha}")
    make = {"mean": lift.mean_sample, "proportion": lift.proportion_sample, "nps": lift.nps_sample}[kind]
    samples = [make(_summed(name, arm, kind)) for name, arm in (("control", control), ("treated", treated))]
    effect = lift.compare(*samples)
    ratio = lift.log_ratio(*samples, alpha=alpha) if kind != "nps" else None
    return told("difference_in_means", (samples[0].n, samples[1].n), effect, ratio, alpha, planned_units)


def _summed(name: str, arm: Sequence[float], kind: Kind) -> moments.Moments:
    wanted = ("units", "sum") if kind == "proportion" else ("units", "sum", "sum of squares")
    if len(arm) != len(wanted):
        raise UsageError(f"{name} is ({', '.join(wanted)}) of a {kind}, not {len(arm)} numbers")
    n, total, squares = (*(float(value) for value in arm), *([float(arm[1])] if kind == "proportion" else []))
    if not all(map(math.isfinite, (n, total, squares))) or n != int(n) or n < 2:
        raise UsageError(f"{name} has {arm[0]} units: a whole number, two or more, is needed, and plain sums")
    if kind == "proportion" and not 0 <= total <= n:
        raise UsageError(f"{name} has {total:g} of {n:g} units: a proportion lies between none and all")
    if squares * (1 + 1e-12) < total * total / n:
        raise UsageError(f"{name} cannot be: squares of {n:g} numbers with the sum {total:g} add up to more")
    return moments.Moments(int(n), total, squares, n, n, total)
