"""Are rare events more frequent in one arm? A beta-binomial e-process, for counts below any normal interval's reach.

Of all units with an event, the share in the new arm is w where the arms are alike. Against it stands a beta
distribution around w, cut to shares above it: E is the likelihood ratio, at most 1 on average at every look where the
arms are alike, so E ≥ 1/α is a signal at level α however often one looks (Ville's inequality).
"""

from __future__ import annotations

import math

from scipy import special

STRENGTH = 100.0  # a + b of the beta distribution
_MOST_LOG = 700.0  # the largest float is e^709
_UNDERFLOW = 1e-290
_TOLERANCE = 1e-14
_MOST_STEPS = 100_000


def e_value(
    events_treated: int, events_control: int, treated_share: float, *, margin: float = 0.0, fewer: bool = False
) -> float:
    """The evidence that events are more frequent among the new arm's units (``fewer``: less frequent).

    E = [B(a + x_t, b + x_c) / (B(a, b)·w^x_t·(1 − w)^x_c)]·[1 − I_w(a + x_t, b + x_c)] / [1 − I_w(a, b)]; cut at e^700.

    Args:
        events_treated: units of the new arm with the event.
        events_control: units of the old arm with the event.
        treated_share: w, the new arm's share of all units, 0 < w < 1.
        margin: more frequent by more than this relative margin r: w becomes w(1 + r)/(w(1 + r) + 1 − w).
    """
    x, y, w = events_treated, events_control, treated_share
    if fewer:
        x, y, w = y, x, 1 - w
    w = w * (1 + margin) / (w * (1 + margin) + 1 - w)
    a, b = STRENGTH * w, STRENGTH * (1 - w)
    # 1 − I_w(a, b) = I_{1−w}(b, a), without cancellation.
    log = -float(special.betaln(a, b)) - math.log(float(special.betainc(b, a, 1 - w)))
    beyond = float(special.betainc(b + y, a + x, 1 - w))
    if beyond > _UNDERFLOW:
        log += float(special.betaln(a + x, b + y)) - x * math.log(w) - y * math.log1p(-w) + math.log(beyond)
    else:  # the arms differ the other way by far, and all that grows with the counts cancels
        log += a * math.log(w) + b * math.log1p(-w) - math.log((b + y) * _fraction(b + y, a + x, 1 - w))
    return math.exp(min(log, _MOST_LOG))


def _fraction(p: float, q: float, x: float) -> float:
    """x^p·(1 − x)^q / (p·B(p, q)·I_x(p, q)), a continued fraction for x below p/(p + q) (DLMF 8.17.22)."""
    # Lentz's algorithm from the front: value = numerator/denominator of successive approximants.
    value = upper = 1.0
    lower = 0.0
    for m in range(_MOST_STEPS):
        for d in (
            -(p + m) * (p + q + m) * x / ((p + 2 * m) * (p + 2 * m + 1)),
            (m + 1) * (q - m - 1) * x / ((p + 2 * m + 1) * (p + 2 * m + 2)),
        ):
            lower = 1 / (1 + d * lower)
            upper = 1 + d / upper
            value *= upper * lower
        if abs(upper * lower - 1) < _TOLERANCE:
            break
    return value
