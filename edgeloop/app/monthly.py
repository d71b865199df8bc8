"""A month's freeze, estimates and report, in the order in which each needs the one before."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis import Analysis, LedgerChange, analyse, ledger, needed
from edgeloop.app.asked import ask
from edgeloop.app.brand import logo_uri
from edgeloop.app.publish import Rendered, publish, rendered
from edgeloop.app.report_files import FEEDBACK, file_of
from edgeloop.clock import DAY_US
from edgeloop.errors import UsageError
from edgeloop.home import Home
from edgeloop.months import Month
from edgeloop.settings import Settings
from edgeloop.store.base import Reader
from edgeloop.store.freeze import (
    FeedbackUse,
    Freeze,
    final_freezes,
    latest_received_us,
    longest_window_us,
    require_over,
    write_freeze,
)
from edgeloop.store.opening import open_reader, open_store
from edgeloop.store.schema import CHANGES

_ROWS_AT_ONCE = 100_000
_TELLING = ("model_id", "model_version", "arm", "rollout_id", "subject", "zone")
"""What of an exposure tells changes, beside its time."""
_BEFORE_A_CHANGE_US = 28 * DAY_US
"""How far back covariates, zones and caps look."""
_BEFORE_A_SWITCH_US = 140 * DAY_US
"""The same of a full switch: 40 placebo dates, each with 56 days before it and 28 after, and a window."""
_YEARS_BEFORE_A_SWITCH_US = 790 * DAY_US
"""Two years of days, and a window: from there on a year has a season."""
_MOST_EXPOSURES = 3_000_000
"""Of so long a time, for a freeze to hold it: beyond, it has the shorter one, and the switch no season."""


def freeze_month(home: Home, settings: Settings, month: Month) -> Freeze:
    """Make the final freeze of a month that is over.

    Raises:
        UsageError: there is one already; a frozen month is never edited.
    """
    path = home.freezes / month.name
    if path.exists():
        raise UsageError(
            f"{month.name} is frozen already ({path}). A frozen month is never edited: what came later is in the next "
            "month's freeze"
        )
    reader = _reader(home, settings)
    try:
        require_over(month, latest_received_us(reader))
        return _write(home, settings, month, reader, path, provisional=False)
    finally:
        reader.close()


def month_freeze(home: Home, settings: Settings, month: Month) -> Freeze:
    """The final freeze of a month, or where there is none a provisional one of this moment."""
    path = home.freezes / month.name
    if path.exists():
        return Freeze(path)
    reader = _reader(home, settings)
    try:
        return _write(home, settings, month, reader, home.freezes / f"{month.name}.provisional", provisional=True)
    finally:
        reader.close()


def estimate_month(home: Home, settings: Settings, month: Month) -> tuple[Freeze, Analysis]:
    """What each change did, from the month's freeze alone; kept in the store's ``estimates`` and ``checks`` too."""
    freeze = month_freeze(home, settings, month)
    analysis = analyse_freeze(freeze)
    store = open_store(home, settings)
    try:
        store.write_estimates(freeze.manifest.freeze_id, analysis.estimates, analysis.checks, analysis.bridge)
    finally:
        store.close()
    return freeze, analysis


def analyse_freeze(freeze: Freeze, month: Month | None = None) -> Analysis:
    """The estimates and checks of a freeze's month, or the estimates of the one before as it knows it; the same gives
    the same.

    Of the month before only the figures are made: what moved since is told of nothing else.
    """
    manifest = freeze.manifest
    columns = needed(manifest.metrics, freeze.frame("changes", ("cluster", "strata")))
    if month is not None:
        columns["answers"] = tuple(name for name in columns["answers"] if name != "text")
    return analyse(
        freeze.frames(columns),
        month or freeze.month,
        freeze_id=manifest.freeze_id,
        as_of_us=manifest.as_of_us,
        begins_us=manifest.begins_us,
        metrics=manifest.metrics,
        printed=manifest.printed if month is None else {},
        before=manifest.measured,
        holidays=manifest.holidays,
        chain=(("delivered", manifest.survey.delivered), ("invited", manifest.survey.invited)),
        whole_second_sources=manifest.whole_second_sources,
        figures_alone=month is not None,
    )


def report_month(home: Home, settings: Settings, month: Month) -> Path:
    """Write the month's report, the pack for the meeting, and how far the answers got; the report's path.

    What a final report asks is kept as actions, before anybody reads it.
    """
    return report_freeze(home, settings, *estimate_month(home, settings, month))


def report_freeze(home: Home, settings: Settings, freeze: Freeze, analysis: Analysis) -> Path:
    """The same, where the estimates are known already."""
    made = render_freeze(freeze, analysis)
    ask(home, settings, freeze, analysis, made.record.findings)
    return publish(home, made)


def render_freeze(freeze: Freeze, analysis: Analysis | None = None) -> Rendered:
    """The report's files, from a freeze and nothing else.

    Args:
        freeze: of a month.
        analysis: of it, where it is known already.
    """
    again = None if freeze.manifest.printed_month is None else analyse_freeze(freeze, freeze.month.previous())
    return rendered(freeze, analysis or analyse_freeze(freeze), again)


def live_ledger(reader: Reader, timezone: str, earliest_us: int) -> list[LedgerChange]:
    """Every change, declared or detected, as the live store knows it now; what is stamped before is a clock unset."""
    columns = ", ".join(CHANGES.names)
    with reader.snapshot():
        known = f"WHERE occurred_at >= {reader.moment(earliest_us)}"
        names, rows = reader.query(f"SELECT {columns} FROM {CHANGES.name} {known} ORDER BY occurred_at, change_id")
        changes = pd.DataFrame(rows, columns=names)
        exposures = _coded(
            reader.pages(f"SELECT occurred_at, {', '.join(_TELLING)} FROM exposures {known}", _ROWS_AT_ONCE)
        )
    return ledger({"changes": changes, "exposures": exposures}, timezone=timezone)


def _coded(pages: Iterable[list[tuple[Any, ...]]]) -> pd.DataFrame:
    """Exposures with their text as categories from the first: twenty million take a gigabyte instead of twenty."""
    times: list[npt.NDArray[np.int64]] = []
    codes: dict[str, list[npt.NDArray[np.int32]]] = {name: [] for name in _TELLING}
    labels: dict[str, dict[str | None, int]] = {name: {None: -1} for name in _TELLING}
    for page in pages:
        at, *columns = zip(*page, strict=True)
        times.append(np.array(at, dtype=np.int64))
        for name, column in zip(_TELLING, columns, strict=True):
            known = labels[name]
            for label in dict.fromkeys(column):
                known.setdefault(label, len(known) - 1)
            codes[name].append(np.fromiter((known[label] for label in column), dtype=np.int32, count=len(column)))
    frame: dict[str, Any] = {"occurred_at": np.concatenate(times or [np.empty(0, dtype=np.int64)])}
    for name in _TELLING:
        own = np.concatenate(codes.pop(name) or [np.empty(0, dtype=np.int32)])
        kinds = pd.CategoricalDtype(pd.Index(list(labels.pop(name))[1:], dtype=object))
        frame[name] = pd.Categorical.from_codes(own, dtype=kinds)
    return pd.DataFrame(frame)


def _reader(home: Home, settings: Settings) -> Reader:
    """A reader of a store that has every table of this version."""
    reader = open_reader(home, settings)
    try:
        open_store(home, settings).close()  # one that the version before made gets what it lacks
    except BaseException:
        reader.close()
        raise
    return reader


def _write(home: Home, settings: Settings, month: Month, reader: Reader, path: Path, *, provisional: bool) -> Freeze:
    window_us = longest_window_us(settings)
    earlier = [f.manifest for f in final_freezes(home.freezes) if f.manifest.month < month.name]
    before = month.previous()
    # Where the month before has a report, its changes are estimated again: what moved since is in this month's.
    again = bool(earlier) and earlier[-1].month == before.name
    touching = [
        change
        for change in live_ledger(reader, month.timezone, settings.door.earliest_us)
        if change.touches(month, window_us) or (again and change.touches(before, window_us))
    ]
    switches = [change.start_us for change in touching if change.full_switch]
    long_us = min(switches, default=0) - _YEARS_BEFORE_A_SWITCH_US
    before_us = _YEARS_BEFORE_A_SWITCH_US if switches and _affordable(reader, long_us, month) else _BEFORE_A_SWITCH_US
    starts = [
        change.start_us - max(window_us, before_us if change.full_switch else _BEFORE_A_CHANGE_US)
        for change in touching
    ]
    since_us = max(settings.door.earliest_us, min([*starts, before.start_us - max(window_us, _BEFORE_A_CHANGE_US)]))
    return write_freeze(
        reader,
        path,
        month,
        settings=settings,
        since_us=since_us,
        provisional=provisional,
        simulated=home.simulated,
        previous=earlier[-1] if earlier else None,
        reported=_reported(home, month, earlier[-1].freeze_id) if earlier else (),
        earlier=[known.freeze_id for known in earlier if known.month[:4] == month.name[:4]],
        measured=(
            [known.freeze_id for known in earlier],
            {(change.model_id, change.to_version) for change in touching if change.kind == "switch"},
        ),
        logo=logo_uri(home, settings),
    )


def _affordable(reader: Reader, since_us: int, month: Month) -> bool:
    """Whether the exposures since then are few enough to be kept in a freeze."""
    where = f"occurred_at >= {reader.moment(since_us)} AND occurred_at < {reader.moment(month.end_us)}"
    with reader.snapshot():
        sql = f"SELECT count(*) FROM (SELECT 1 AS one FROM exposures WHERE {where} LIMIT {_MOST_EXPOSURES + 1}) AS few"
        ((n,),) = reader.query(sql)[1]
    return int(n) <= _MOST_EXPOSURES


def _reported(home: Home, month: Month, freeze_id: str) -> tuple[FeedbackUse, ...]:
    """What the report of the month before, made of that freeze, said of its answers; nothing where there is none."""
    path = file_of(home, month.previous().name, FEEDBACK)
    if not path.exists():
        return ()
    try:
        found = msgspec.json.decode(path.read_bytes(), type=tuple[FeedbackUse, ...])
    except msgspec.DecodeError as error:
        raise UsageError(
            f"{path} is not what a report wrote ({error}): restore it, or remove it and make that report again"
        ) from error
    return tuple(use for use in found if use.freeze_id == freeze_id)
