"""Which themes grew from about the week on in which a change went live? A description, and no measured effect.

Told only where dates and scope both fit (docs/meaning.md, "Remarks"); where the data does not carry that, nothing is.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from analysis import LedgerChange, WordsOfMonth
from edgeloop.clock import from_us, to_us
from edgeloop.months import Month
from reports.asking import grew

NEAR = dt.timedelta(weeks=1)
"""Of some dozen remarks no week is told more exactly."""
Scope = Mapping[tuple[str, str], Collection[tuple[str, str]]]
"""(person, response) → the (model, version) that its answers are credited to."""


def tied(
    spoken: WordsOfMonth | None, changes: Sequence[LedgerChange], credited: pd.DataFrame, month: Month
) -> dict[tuple[str, str], tuple[str, ...]]:
    """(side, theme) → titles of the changes that went live in about the week from which on the theme grew.

    Args:
        credited: the rows of ``attributions`` that are of answers.
    """
    begun = [c for c in changes if month.start_us <= c.start_us < month.end_us]
    if spoken is None or not begun:
        return {}
    grown = [
        (side, theme)
        for side in spoken.sides
        for theme in side.themes
        if grew((theme.this.n, side.this.n), (theme.before.n, side.before.n))
    ]
    scope = _scope(credited, {change.model_id for change in begun}) if grown else {}
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for side, theme in grown:
        at = np.array([said.at for said in side.spoken], dtype=np.int64)
        about = np.array([theme.name in said.themes for said in side.spoken], dtype=bool)
        met = [scope.get((said.subject, said.response_id), frozenset()) for said in side.spoken]
        since = _since(at, about, month)
        titles = [
            change.title
            for change in sorted(begun, key=lambda c: (c.start_us, c.change_id))
            if abs(_monday(change.start_us, month) - since) <= NEAR and _of(change, at, about, met)
        ]
        if titles:
            found[side.respondent, theme.name] = tuple(titles)
    return found


def _scope(credited: pd.DataFrame, models: Collection[str]) -> Scope:
    a = credited[(credited["outcome_type"] == "answer") & (credited["credit"] > 0)]
    a = a[a["model_id"].isin(models) & a["model_version"].notna()]
    found: dict[tuple[str, str], set[tuple[str, str]]] = {}
    columns = ["subject", "outcome_id", "model_id", "model_version"]
    for subject, outcome, model, version in a[columns].itertuples(index=False):
        response = str(outcome).removeprefix("a:").rpartition("/")[0]
        found.setdefault((str(subject), response), set()).add((str(model), str(version)))
    return found


def _monday(us: int, month: Month) -> dt.date:
    day = from_us(us).astimezone(ZoneInfo(month.timezone)).date()
    return day - dt.timedelta(days=day.weekday())


def _since(at: np.ndarray, about: np.ndarray, month: Month) -> dt.date:
    """The Monday from which on a theme grew, of the weeks of this month; shape of both arrays: (remarks,).

    Where the sum of what is above its share in both months is largest (CUSUM; Page 1954): unlike the largest
    difference in standard errors, that is not drawn to the ends, where there are few remarks.
    """
    monday, zone = _monday(month.start_us, month), ZoneInfo(month.timezone)
    above = about - about.mean()
    sums: dict[dt.date, float] = {}
    while (begin := to_us(dt.datetime.combine(monday, dt.time(), zone))) < month.end_us:
        sums[monday] = float(above[at >= begin].sum())
        monday += dt.timedelta(weeks=1)
    return max(sums, key=lambda week: (sums[week], -week.toordinal()))


def _of(change: LedgerChange, at: np.ndarray, about: np.ndarray, met: Sequence[Collection[tuple[str, str]]]) -> bool:
    """Whether the theme grew among the remarks credited to the change's own new version, against its model before."""
    new = np.array([(change.model_id, change.to_version) in own for own in met], dtype=bool)
    model = np.array([any(m == change.model_id for m, _ in own) for own in met], dtype=bool)
    return grew(_share(about, new & (at >= change.start_us)), _share(about, model & (at < change.start_us)))


def _share(about: np.ndarray, rows: np.ndarray) -> tuple[int, int]:
    return int(np.count_nonzero(about & rows)), int(np.count_nonzero(rows))
