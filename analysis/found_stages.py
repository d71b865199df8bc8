"""Which stages did a rollout have that nobody declared? Read off the people in each arm, hour by hour."""

from __future__ import annotations

import numpy as np

from analysis.change import Stage
from analysis.days import local_date, midnights
from analysis.detect import Shown
from analysis.frames import ABSENT
from analysis.groups import distinct, first_places, ranks
from analysis.moments import IntArray
from analysis.ramps import steps
from edgeloop.clock import DAY_US, HOUR_US
from edgeloop.store import facts

MOST_HOURLY_DAYS = 62  # of longer rollouts days are counted, not hours
CROSSING = 0.02  # more people in two arms, and the arms are drawn anew at each step


def found_stages(
    shown: Shown, model_id: str, rollout_id: str, start_us: int, end_us: int | None, timezone: str
) -> tuple[Stage, ...]:
    """The stages of a rollout from ``start_us`` to ``end_us``; one where its arms' shares do not step.

    Where people change arms at a step (those of a hash below the new share), everybody met counts on each day; where
    people keep theirs and only newcomers are drawn by the new share, each counts once, when first met.
    """
    whole = (Stage(1, start_us, end_us),)
    rows = np.flatnonzero(shown.rollout.equals(rollout_id))
    rows = rows[shown.model.equals(model_id, rows) & (shown.subject.codes[rows] != ABSENT)]
    rows = rows[(shown.at[rows] >= start_us) & (shown.at[rows] < (end_us if end_us is not None else 1 << 62))]
    if len(rows) == 0:
        return whole
    rows = rows[np.argsort(shown.at[rows], kind="stable")]
    arm, new = _arms(shown, rows)
    if not any(new) or all(new):
        return whole
    days = midnights(start_us, int(shown.at[rows[-1]]) + 1, timezone)
    hourly = len(days) - 1 <= MOST_HOURLY_DAYS and days[-1] - days[0] <= (MOST_HOURLY_DAYS + 1) * DAY_US
    edges = np.arange(days[0], days[-1] + 1, HOUR_US) if hourly else days
    bins = np.searchsorted(edges, shown.at[rows], side="right") - 1
    person = ranks(shown.subject.of_rows(rows), len(shown.subject.labels))
    counts, met, weight = _counts(person, arm, bins, len(new), len(edges) - 1)
    at = steps(counts, met, new, np.searchsorted(edges, days[:-1]), least=24 if hourly else 1, weight=weight)
    if not at:
        return whole
    begins = [start_us, *(int(edges[i]) for i in at)]
    ends = [*begins[1:], end_us]
    parts = [counts[a:b].sum(axis=0) for a, b in zip([0, *at], [*at, len(counts)], strict=True)]
    shares = [float(part[np.array(new)].sum() / part.sum()) for part in parts]
    return tuple(
        Stage(i + 1, begin, end, found=facts.FoundStage(local_date(begin, timezone), shares[i]))
        for i, (begin, end) in enumerate(zip(begins, ends, strict=True))
    )


def _arms(shown: Shown, rows: IntArray) -> tuple[IntArray, list[bool]]:
    """(arm per row, whether each arm has a new version): the stable one, those held out, and each other arm."""
    own = shown.arm.of_rows(rows)
    seen = np.flatnonzero(np.bincount(own + 1)) - 1
    labels = [shown.arm.label(int(code)) for code in seen]
    return ranks(own + 1, len(shown.arm.labels) + 1), [label not in ("stable", "holdout") for label in labels]


def _counts(
    person: IntArray, arm: IntArray, bins: IntArray, n_arms: int, n_bins: int
) -> tuple[IntArray, IntArray, float]:
    """People per bin and arm whose arm was drawn then, and all that were met, and the weight of one of the former."""
    n_people = int(person.max()) + 1
    seen = distinct((bins * n_arms + arm) * n_people + person)
    met = _table(seen // n_people, n_arms, n_bins)
    if len(distinct(person * n_arms + arm)) / n_people - 1 > CROSSING:
        return met, met, n_people / len(seen)
    first = first_places(person, n_people)
    return _table(bins[first] * n_arms + arm[first], n_arms, n_bins), met, 1.0


def _table(key: IntArray, n_arms: int, n_bins: int) -> IntArray:
    return np.bincount(key, minlength=n_bins * n_arms).reshape(n_bins, n_arms).astype(np.int64)
