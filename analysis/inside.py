"""What were units drawn inside of? The cluster and the stratum of each, as its entry exposure has them.

docs/meaning.md, "Clusters and strata": a courier's is where the courier was first, so that a unit lies in one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from analysis.change import LedgerChange
from analysis.frames import ABSENT, BoolArray, Exposures
from analysis.groups import ranks
from analysis.moments import IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Inside:
    """One element per unit or person: numbers ≥ 0, ABSENT where its exposure does not say. None: not declared."""

    cluster: IntArray | None = None
    stratum: IntArray | None = None
    cluster_of: str = ""
    """The field whose values are the clusters."""
    strata_of: tuple[str, ...] = ()
    """The fields whose values are the strata."""

    @classmethod
    def of(cls, x: Exposures, change: LedgerChange, rows: IntArray) -> Inside:
        """Of those who entered with these rows; the numbers are of these rows together."""
        cluster = None if change.cluster is None else x.where(change.cluster).of_rows(rows)
        if not change.strata:
            return cls(cluster, None, change.cluster or "")
        key, absent, n_keys = np.zeros(len(rows), dtype=np.int64), np.zeros(len(rows), dtype=bool), 1
        for field in change.strata:
            column = x.where(field)
            code = column.of_rows(rows)
            absent |= code == ABSENT
            n_keys *= len(column.labels) + 1
            key = ranks(key * (len(column.labels) + 1) + code + 1, n_keys)
            n_keys = int(key.max(initial=-1)) + 1
        return cls(cluster, np.where(absent, ABSENT, key), change.cluster or "", change.strata)

    @property
    def declared(self) -> bool:
        """Whether there are clusters or strata."""
        return self.cluster is not None or self.stratum is not None

    def known(self, n: int) -> BoolArray:
        """Which of the n are in a cluster and in a stratum, where there are such."""
        there = np.ones(n, dtype=bool)
        for codes in (self.cluster, self.stratum):
            if codes is not None:
                there &= codes != ABSENT
        return there

    def of_both(self, control: BoolArray, treated: BoolArray) -> BoolArray:
        """Which are in a stratum that both arms have; all of them where there are no strata.

        Args:
            control: which are in the one arm.
            treated: which are in the other.
        """
        if self.stratum is None:
            return np.ones(len(control), dtype=bool)
        n = int(self.stratum.max(initial=-1)) + 2
        arms = [np.bincount(self.stratum[arm] + 1, minlength=n) > 0 for arm in (control, treated)]
        both: BoolArray = (arms[0] & arms[1])[self.stratum + 1]
        return both

    def only(self, chosen: BoolArray) -> Inside:
        """The same of some of them."""
        return replace(
            self,
            cluster=None if self.cluster is None else self.cluster[chosen],
            stratum=None if self.stratum is None else self.stratum[chosen],
        )

    def joined(self, other: Inside) -> Inside:
        """Those of one arm and then those of the other."""
        if not self.declared:
            return self
        pairs = (self.cluster, other.cluster), (self.stratum, other.stratum)
        both = [None if a is None or b is None else np.concatenate([a, b]) for a, b in pairs]
        return replace(self, cluster=both[0], stratum=both[1])

    def of_couriers(self, courier: IntArray) -> Inside:
        """With the couriers as clusters, where they were drawn inside strata and have several people each."""
        if self.cluster is not None or self.stratum is None:
            return self
        return replace(self, cluster=courier, cluster_of="courier")


NOWHERE = Inside()
"""Of a draw without clusters and strata."""
