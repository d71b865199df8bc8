"""Who counts, when, and in which arm? Entry, crossovers and complete units of a stage (docs/meaning.md, "Estimand").

A person enters a stage with the first exposure to the model in it, and keeps its arm (intention to treat).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from analysis.change import LedgerChange, Stage
from analysis.days import day_of, midnights
from analysis.frames import ABSENT, BoolArray, Coded, Exposures
from analysis.groups import first_places
from analysis.inside import NOWHERE, Inside
from analysis.moments import IntArray

CONTROL, HOLDOUT, NOBODY = -1, -2, -3
"""Groups beside the version codes (≥ 0): the stable arm, those held out, and the group of a version never met."""
OPEN_US = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True, eq=False)
class Entries:
    """First exposures in one stage, one per key, by ascending key code; ``row`` is the exposure's row."""

    key: IntArray
    row: IntArray
    at: IntArray
    group: IntArray
    crossed: BoolArray
    """Met another group later in the same stage."""


@dataclass(frozen=True, slots=True, eq=False)
class Arm:
    """The people of one arm, with the unit (cluster) each belongs to.

    ``unit`` numbers the arm's units from 0; ``unit_day`` is the day of the stage that each unit entered on.
    ``closes_us`` is the last moment that an outcome window may reach: the stage's end or the freeze's ``as_of``.
    """

    label: str
    person: IntArray
    at: IntArray
    row: IntArray
    """The entry's row among the exposures."""
    unit: IntArray
    unit_day: IntArray
    clustered: bool
    closes_us: int
    inside: Inside = NOWHERE
    """The cluster and the stratum of each person."""

    @property
    def n_units(self) -> int:
        """Units that entered."""
        return len(self.unit_day)

    def complete(self, window_us: int) -> BoolArray:
        """Which people have their whole window behind them."""
        return self.at <= self.closes_us - window_us

    def complete_units(self, window_us: int) -> int:
        """Units with at least one such person."""
        unit = self.unit[self.complete(window_us)]
        return int(np.count_nonzero(np.bincount(unit))) if self.clustered else len(unit)


@dataclass(frozen=True, slots=True, eq=False)
class Cohort:
    """Everyone who counts in one stage of one change.

    ``until_us`` is where entries end (stage, month or ``as_of``), ``days`` the midnights from its start to there.
    ``entries`` are units: people, or couriers where those were assigned. ``rows``, ``row_key`` and ``row_group`` are
    all their exposures in the stage.
    """

    stage: Stage
    until_us: int
    closes_us: int
    days: IntArray
    control: Arm
    treated: Arm
    agents: tuple[Arm, Arm]
    """The couriers of the two arms."""
    entries: Entries
    treated_group: int
    rows: IntArray
    row_key: IntArray
    row_group: IntArray
    labelled: bool
    """Some entry names its arm."""
    anonymous: int
    """Exposures in the stage without a usable id of a person; they are nobody's entry."""
    exposures: int
    """All exposures in the stage."""
    unclustered: int
    """People left out because their entry names no courier, where couriers were assigned."""
    inside: Inside = NOWHERE
    """The cluster and the stratum of each of the entries."""
    unplaced: int = 0
    """People of the two arms left out because nothing says in which declared cluster or stratum they are."""
    one_sided: int = 0
    """People of the two arms left out because their stratum has nobody of the other arm."""
    nameless: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """Their rows that are not among ``rows``, for want of a usable id, and the group of each."""
    nameless_group: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    @property
    def over(self) -> bool:
        """The stage has ended, as far as is known: nobody enters any more, and no window that is open will close."""
        return self.stage.end_us is not None and self.closes_us >= self.stage.end_us

    def compared(self) -> BoolArray:
        """Which entries are in one of the two arms."""
        arms: BoolArray = np.isin(self.entries.group, (CONTROL, self.treated_group))
        return arms

    @property
    def crossovers(self) -> int:
        """Units of the two arms that met another group inside the stage."""
        return int(np.count_nonzero(self.entries.crossed & self.compared()))

    @property
    def crossover_share(self) -> float | None:
        """The same as a share of the two arms' units; None without units."""
        units = int(np.count_nonzero(self.compared()))
        return self.crossovers / units if units else None

    def weight(self, window_us: int) -> float:
        """n_t·n_c/(n_t + n_c) of complete units: what a stage can show."""
        n_c, n_t = self.control.complete_units(window_us), self.treated.complete_units(window_us)
        return n_c * n_t / (n_c + n_t) if n_c + n_t else 0.0


def randomised_cohort(
    x: Exposures, change: LedgerChange, stage: Stage, *, month_end_us: int, as_of_us: int, timezone: str
) -> Cohort:
    """The two arms of one stage of a change with concurrent arms.

    Entries end with the month; a unit is complete once its window ends by the stage's end and ``as_of_us``.
    """
    end = stage.end_us if stage.end_us is not None else OPEN_US
    until = min(end, month_end_us, as_of_us + 1)
    rows = rows_of(x, change, stage.start_us, until, stage.zones, change.rollout_id)
    group = _groups(x, rows, change)
    treated_code = x.version.code(change.to_version)
    treated_group = NOBODY if treated_code is None else treated_code
    days = midnights(stage.start_us, max(until, stage.start_us + 1), timezone)
    by_courier = change.unit == "courier"
    known = ~x.anonymous[rows]
    people = first_exposures(x, rows[known], group[known], x.subject)
    couriers = first_exposures(x, rows, group, x.courier)
    closes = min(end, as_of_us)
    labels = (_control_label(x, people, change), _treated_label(x, people, treated_group, change))
    units, column = (couriers, x.courier) if by_courier else (people, x.subject)
    inside = Inside.of(x, change, _first_of_courier(x, people.row) if by_courier else people.row)
    if by_courier:
        inside = inside.of_couriers(x.courier.of_rows(people.row))
    arms = people.group == CONTROL, people.group == treated_group
    placed, shared = inside.known(len(people.key)), inside.of_both(*arms)
    agents_inside = Inside.of(x, change, couriers.row)
    agents_placed = agents_inside.known(len(couriers.key))
    kept = column.codes[rows] != ABSENT if by_courier else known
    return Cohort(
        stage=stage,
        until_us=until,
        closes_us=closes,
        days=days,
        control=_arm(x, people, arms[0] & placed & shared, labels[0], by_courier, closes, days, inside),
        treated=_arm(x, people, arms[1] & placed & shared, labels[1], by_courier, closes, days, inside),
        agents=(
            _arm(
                x, couriers, (couriers.group == CONTROL) & agents_placed, labels[0], False, closes, days, agents_inside
            ),
            _arm(
                x,
                couriers,
                (couriers.group == treated_group) & agents_placed,
                labels[1],
                False,
                closes,
                days,
                agents_inside,
            ),
        ),
        entries=units,
        treated_group=treated_group,
        rows=rows[kept],
        row_key=column.of_rows(rows[kept]),
        row_group=group[kept],
        labelled=bool((x.arm.codes[people.row] != ABSENT).any()),
        anonymous=int(np.count_nonzero(~known)),
        exposures=len(rows),
        unclustered=_unclustered(x, people, treated_group) if by_courier else 0,
        inside=agents_inside if by_courier else inside,
        unplaced=int(np.count_nonzero((arms[0] | arms[1]) & ~placed)),
        one_sided=int(np.count_nonzero((arms[0] | arms[1]) & placed & ~shared)),
        nameless=rows[~known & ~kept],
        nameless_group=group[~known & ~kept],
    )


def first_exposures(x: Exposures, rows: IntArray, group: IntArray, column: Coded) -> Entries:
    """The first of ``rows`` of each key in ``column``, by (time, exposure_id); rows without a key are passed over.

    Args:
        rows: rows of ``x``, ascending, shape (k,).
        group: the group of each of those rows, shape (k,).
    """
    keyed = column.codes[rows] != ABSENT
    rows, group = rows[keyed], group[keyed]
    key = column.of_rows(rows)
    first_of = first_places(key, len(column.labels))
    found = np.flatnonzero(first_of != ABSENT)
    first = first_of[found]
    crossed = np.zeros(len(column.labels), dtype=bool)
    crossed[key[group != group[first_of[key]]]] = True
    return Entries(found, rows[first], x.at[rows[first]], group[first], crossed[found])


def first_met(x: Exposures, change: LedgerChange) -> IntArray:
    """Each person's first exposure to the change in any stage and arm, per code of ``x.subject``; OPEN_US: never."""
    rows = rows_of(x, change, change.start_us, OPEN_US, (), change.rollout_id)
    rows = rows[x.subject.codes[rows] != ABSENT]
    first = np.full(len(x.subject.labels), OPEN_US)
    np.minimum.at(first, x.subject.codes[rows], x.at[rows])
    return first


def rows_of(
    x: Exposures, change: LedgerChange, start_us: int, end_us: int, zones: tuple[str, ...], rollout_id: str | None
) -> IntArray:
    """Exposures to the change's model in [start, end), in its zones and its rollout where it has such; ascending."""
    rows = x.of_model(change.model_id)
    begin, end = np.searchsorted(x.at[rows], [start_us, end_us])
    rows = rows[begin:end]
    if rollout_id is not None:
        rows = rows[x.rollout.equals(rollout_id, rows)]
    return rows[x.zone.isin(zones, rows)] if zones else rows


def _groups(x: Exposures, rows: IntArray, change: LedgerChange) -> IntArray:
    """CONTROL for the stable arm, HOLDOUT for the held out, else the version's code.

    An exposure without an arm is control only where a random assignment was declared and its version is the one before.
    """
    group = x.version.of_rows(rows)
    if change.assignment == "random" and change.from_version is not None:
        unlabelled = x.arm.codes[rows] == ABSENT
        group[unlabelled & x.version.equals(change.from_version, rows)] = CONTROL
    group[x.arm.equals("stable", rows)] = CONTROL
    group[x.arm.equals("holdout", rows)] = HOLDOUT
    return group


def _first_of_courier(x: Exposures, rows: IntArray) -> IntArray:
    """For each of some rows the earliest of them with the same courier; the row itself where it names none."""
    courier = x.courier.of_rows(rows)
    first = np.full(len(x.courier.labels) + 1, len(x.at), dtype=np.int64)
    np.minimum.at(first, courier, rows)  # rows are in order of time
    return np.where(courier == ABSENT, rows, first[courier])


def _arm(
    x: Exposures,
    people: Entries,
    chosen: BoolArray,
    label: str,
    clustered: bool,
    closes_us: int,
    days: IntArray,
    inside: Inside,
) -> Arm:
    if clustered:
        chosen = chosen & (x.courier.codes[people.row] != ABSENT)
    person, at = people.key[chosen], people.at[chosen]
    unit = np.arange(len(person), dtype=np.int64)
    first = at
    if clustered:
        names, unit = np.unique(x.courier.of_rows(people.row[chosen]), return_inverse=True)
        unit = unit.astype(np.int64)
        first = np.full(len(names), OPEN_US)
        np.minimum.at(first, unit, at)
    return Arm(
        label, person, at, people.row[chosen], unit, day_of(first, days), clustered, closes_us, inside.only(chosen)
    )


def _unclustered(x: Exposures, people: Entries, treated_group: int) -> int:
    compared = (people.group == CONTROL) | (people.group == treated_group)
    return int(np.count_nonzero(compared & (x.courier.codes[people.row] == ABSENT)))


def _control_label(x: Exposures, people: Entries, change: LedgerChange) -> str:
    stable = x.arm.equals("stable", people.row)
    return (
        "stable"
        if change.from_version is None or stable.any() or (people.group != CONTROL).all()
        else change.from_version
    )


def _treated_label(x: Exposures, people: Entries, treated_group: int, change: LedgerChange) -> str:
    """The arm's own name, the most frequent one; the version where arms are not named."""
    arms = x.arm.codes[people.row[people.group == treated_group]]
    arms = arms[arms != ABSENT]
    if len(arms) == 0:
        return change.to_version
    counts = np.bincount(arms)
    return min(str(x.arm.labels[int(i)]) for i in np.flatnonzero(counts == counts.max()))
