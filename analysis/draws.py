"""What was drawn, and when did each arm's come? Units, or whole clusters, with the stratum of each.

The sample ratio, the share over the days and silent arms are judged of what was drawn. Where units were drawn inside
clusters these are the units; where next to every cluster has one arm alone, which draws of units would not give, whole
clusters were drawn, and each counts once, with the arm and the day of its first unit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.days import day_of
from analysis.entry import Cohort
from analysis.frames import ABSENT
from analysis.groups import distinct, first_places, ranks
from analysis.moments import FloatArray, IntArray

PURE_SHARE = 0.95  # of the clusters with two units or more: fewer of one arm alone, and units were drawn
PURE_SPREADS = 4.0  # so many standard deviations more of them than draws of units would give


@dataclass(frozen=True, slots=True, eq=False)
class Draws:
    """One element per draw; ``of_entry`` is the draw of each of the cohort's entries, ABSENT of those in no cluster."""

    group: IntArray
    at: IntArray
    stratum: IntArray
    """0 without strata; those whose stratum is not known are one of their own."""
    n_strata: int
    of_entry: IntArray

    @classmethod
    def of(cls, cohort: Cohort) -> Draws:
        """Of everybody in a stage, held-out units too."""
        entries, inside = cohort.entries, cohort.inside
        n = len(entries.key)
        stratum = np.zeros(n, dtype=np.int64) if inside.stratum is None else inside.stratum + 1
        n_strata = int(stratum.max(initial=0)) + 1
        cluster = inside.cluster
        if cluster is None or not whole_clusters(cluster, entries.group):
            return cls(entries.group, entries.at, stratum, n_strata, np.arange(n))
        by_time = np.lexsort((entries.row, entries.at))
        by_time = by_time[cluster[by_time] != ABSENT]
        number = ranks(cluster[by_time], int(cluster.max()) + 1)
        of_entry = np.full(n, ABSENT, dtype=np.int64)
        of_entry[by_time] = number
        first = by_time[first_places(number, int(number.max(initial=-1)) + 1)]
        return cls(entries.group[first], entries.at[first], stratum[first], n_strata, of_entry)

    def entered(self, group: int, days: IntArray) -> IntArray:
        """Draws of a group by stratum and the day that each came on, shape (strata, days)."""
        kept = self.group == group
        n_days = len(days) - 1
        key = self.stratum[kept] * n_days + day_of(self.at[kept], days)
        return np.bincount(key, minlength=self.n_strata * n_days).reshape(self.n_strata, n_days).astype(np.int64)

    def seen(self, cohort: Cohort, at: IntArray, group: int) -> IntArray:
        """Draws of a group by stratum and the days on which they were exposed, each once a day, shape (strata, days).

        Args:
            at: when each of the cohort's rows was.
        """
        n_days = len(cohort.days) - 1
        rows = cohort.row_group == group
        draw = self.of_entry[np.searchsorted(cohort.entries.key, cohort.row_key[rows])]
        day = day_of(at[rows], cohort.days)
        somebodys = draw != ABSENT
        # Each pair once, and no table of draws × days: a stage that seems to begin in 1970 has 20,000 days.
        met = distinct(draw[somebodys].astype(np.int64) * n_days + day[somebodys])
        key = self.stratum[met // n_days] * n_days + met % n_days
        return np.bincount(key, minlength=self.n_strata * n_days).reshape(self.n_strata, n_days).astype(np.int64)


def whole_clusters(cluster: IntArray, group: IntArray) -> bool:
    """Whether whole clusters were drawn: nearly all with two units or more have one group alone, by more than chance.

    Args:
        cluster: of each unit, ABSENT where it is not known.
        group: its arm.
    """
    known = cluster != ABSENT
    if not known.any():
        return False
    number = ranks(cluster[known], int(cluster.max()) + 1)
    arms, arm = np.unique(group[known], return_inverse=True)
    counts = np.bincount(number * len(arms) + arm, minlength=(int(number.max()) + 1) * len(arms))
    table = counts.reshape(-1, len(arms))
    size = table.sum(axis=1)
    table, size = table[size > 1], size[size > 1]
    if len(size) < 2:
        return False
    pure = int(np.count_nonzero(table.max(axis=1) == size))
    share = np.bincount(arm) / len(arm)
    chance: FloatArray = (share[:, None] ** size[None, :]).sum(axis=0)
    spread = float(np.sqrt((chance * (1 - chance)).sum()))
    return pure >= PURE_SHARE * len(size) and pure - float(chance.sum()) > max(1.0, PURE_SPREADS * spread)
