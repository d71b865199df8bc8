"""What went wrong this month and wants an explanation? Found by stated rules; each with a time and a role."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from analysis import Analysis
from edgeloop.clock import DAY_US, from_us
from edgeloop.months import Month
from reports import foreign, numbers, people
from reports.findings import Complexity, Incident
from reports.language import t, tn

QUIET_PER_DAY = 7.0
"""Events a day from which an empty day is no chance: exp(−7) is under 0.001."""
SPIKE_LEAST, SPIKE_TIMES = 20, 5
"""A day's refused inputs, at least so many and so many times the median day's."""
SYNC_LEAST, SYNC_TIMES, SYNC_SECONDS = 20, 5, 60.0
"""A day's p95 delay of at least so many messages, so many times the median day's, and at least so long."""
_BLOCKS = (
    "srm", "srm_combined", "share_drift", "arm_silent", "crossovers", "joined_share", "left_out", "anonymous_arms",
    "logged_alike",
)  # fmt: skip


def incidents(
    analysis: Analysis,
    models: Sequence[Complexity],
    frames: Mapping[str, pd.DataFrame],
    refused: Mapping[str, int],
    month: Month,
    as_of_us: int,
    holders: Mapping[str, str],
) -> tuple[Incident, ...]:
    """Those that are not over first, then by time.

    Args:
        frames: ``engagement``, ``responses``, ``exposures`` (their sources or models and times) and ``telemetry``.
        refused: date → dead letters received on it.
    """
    days = known_days(month, as_of_us)
    found = [
        *_checks(analysis, month, holders),
        *_quiet(frames, days, month, holders),
        *_sync(frames["telemetry"], month, holders),
        *_refused(refused, days, month, holders),
        *_rollbacks(analysis, month, holders),
        *_over_budget(models, frames["exposures"], days, month, holders),
    ]
    return tuple(sorted(found, key=lambda i: (not i.open, i.at_us, i.what, i.detail)))


def known_days(month: Month, as_of_us: int) -> list[dt.date]:
    """The days of this month and the one before that are over, as far as the data is known."""
    first = _date(month.previous().start_us, month.timezone)
    last = min(_date(month.end_us - 1, month.timezone), _date(as_of_us, month.timezone) - dt.timedelta(days=1))
    return [first + dt.timedelta(days=i) for i in range((last - first).days + 1)]


def silent_days(at: pd.Series[int], days: Sequence[dt.date], timezone: str) -> list[dt.date]:
    """Days without an event where that is no chance and no custom.

    The source has 7 events a day and more between its first and the last known day it spoke on, and it does speak on
    most other such weekdays.
    """
    counts = _per_day(at, timezone)
    spoke = [i for i, day in enumerate(days) if counts.get(day, 0)]
    if not spoke:
        return []
    span = days[spoke[0] : spoke[-1] + 1]
    if sum(counts.get(day, 0) for day in span) / len(span) < QUIET_PER_DAY:
        return []
    found = []
    for day in days[spoke[0] :]:
        if counts.get(day, 0):
            continue
        others = [d for d in span if d.weekday() == day.weekday() and d != day]
        if others and 2 * sum(counts.get(d, 0) > 0 for d in others) > len(others):
            found.append(day)
    return found


def sources_of(frames: Mapping[str, pd.DataFrame]) -> dict[str, pd.Series[int]]:
    """What speaks → the times it spoke at: survey tools, sources of engagement, models at the edge."""
    told: dict[str, pd.Series[int]] = {}
    for table, column in (("responses", "source"), ("engagement", "source"), ("exposures", "model_id")):
        frame = frames[table]
        names = frame[column]
        for name in sorted(str(n) for n in names.dropna().unique()):
            shown = {
                "responses": t("survey answers from {source}", source=foreign.name(name)),
                "engagement": t("engagement from {source}", source=foreign.name(name)),
                "exposures": t("exposures of {model}", model=foreign.name(name)),
            }[table]
            told[shown] = frame["occurred_at"][names == name]
    return told


def _checks(analysis: Analysis, month: Month, holders: Mapping[str, str]) -> list[Incident]:
    changes = {change.change_id: change for change in analysis.changes}
    made = []
    for check in analysis.checks:
        kind = check.check.partition(":")[0]
        if check.state != "block" or kind not in _BLOCKS:
            continue
        change = changes[check.change_id]
        stage = next((s for s in change.stages if s.number == check.stage), change.stages[0])
        detail = {
            "srm": t("People are not shared out as planned, so nothing is said of the effect."),
            "srm_combined": t("People are not shared out as planned over all stages."),
            "share_drift": t("The arms’ share changes from day to day."),
            "arm_silent": t("One version fell silent while the other spoke."),
            "crossovers": t("Too many people met both versions."),
            "joined_share": t("Far fewer outcomes than usual could be tied to a version."),
            "left_out": t("A figure leaves more out of one version’s people than of the other’s."),
            "logged_alike": t("One version’s events are logged in another unit, or twice."),
            "anonymous_arms": t("More exposures of one version than of the other have no usable id."),
        }[kind]
        made.append(
            Incident(
                kind="data",
                at_us=stage.start_us,
                when=t("since {day}", day=numbers.day(stage.start_us, month.timezone)),
                what=t("Data of “{change}” in doubt", change=foreign.name(change.title)),
                detail=detail,
                who=people.who("data_engineer", holders),
                open=change.end_us is None,
            )
        )
    return made


def _quiet(
    frames: Mapping[str, pd.DataFrame], days: Sequence[dt.date], month: Month, holders: Mapping[str, str]
) -> list[Incident]:
    begin = _date(month.start_us, month.timezone)
    made = []
    for name, at in sources_of(frames).items():
        silent = [day for day in silent_days(at, days, month.timezone) if day >= begin]
        if not silent:
            continue
        last = silent[-1] == days[-1]
        made.append(
            Incident(
                kind="quiet",
                at_us=_start_us(silent[0], month.timezone),
                when=_span(silent),
                what=t("Went quiet: {source}", source=name),
                detail=tn(
                    "Nothing came on {n} day, where every such day brings something.",
                    "Nothing came on {n} days, where every such day brings something.",
                    len(silent),
                    n=numbers.count(len(silent)),
                ),
                who=people.who("data_engineer", holders, "it_lead"),
                open=last,
            )
        )
    return made


def _sync(telemetry: pd.DataFrame, month: Month, holders: Mapping[str, str]) -> list[Incident]:
    known = telemetry[telemetry["message_sent_at"].notna() & telemetry["message_delivered_at"].notna()]
    if known.empty:
        return []
    seconds = (known["message_delivered_at"] - known["message_sent_at"]) / 1e6
    grouped = seconds.groupby(_dates(known["occurred_at"], month.timezone))
    daily = grouped.quantile(0.95)[grouped.size() >= SYNC_LEAST]
    if daily.empty:
        return []
    usual, begin = float(daily.median()), _date(month.start_us, month.timezone)
    bad = daily[(daily > SYNC_TIMES * usual) & (daily > SYNC_SECONDS)]
    days = sorted(day for day in bad.index if day >= begin)
    if not days:
        return []
    return [
        Incident(
            kind="sync",
            at_us=_start_us(days[0], month.timezone),
            when=_span(days),
            what=t("Messages reached the edge late"),
            detail=t(
                "95 of 100 took up to {worst}\N{NO-BREAK SPACE}s on the worst day, "
                "{usual}\N{NO-BREAK SPACE}s on a usual one.",
                worst=numbers.number(float(bad[days].max())),
                usual=numbers.number(usual, 1),
            ),
            who=people.who("operations_lead", holders, "data_engineer"),
            open=days[-1] == max(daily.index),
        )
    ]


def _refused(
    refused: Mapping[str, int], days: Sequence[dt.date], month: Month, holders: Mapping[str, str]
) -> list[Incident]:
    counts = [refused.get(str(day), 0) for day in days]
    if not counts:
        return []
    usual, begin = float(np.median(counts)), _date(month.start_us, month.timezone)
    found = [
        (day, n)
        for day, n in zip(days, counts, strict=True)
        if day >= begin and n >= SPIKE_LEAST and n >= SPIKE_TIMES * max(usual, 1.0)
    ]
    if not found:
        return []
    return [
        Incident(
            kind="refused",
            at_us=_start_us(found[0][0], month.timezone),
            when=_span([day for day, _ in found]),
            what=t("Many inputs were refused"),
            detail=t(
                "{n} could not be taken, {usual} on a usual day: `edgeloop dead-letters` lists them.",
                n=numbers.count(sum(n for _, n in found)),
                usual=numbers.number(usual),
            ),
            who=people.who("data_engineer", holders),
            open=found[-1][0] == days[-1],
        )
    ]


def _rollbacks(analysis: Analysis, month: Month, holders: Mapping[str, str]) -> list[Incident]:
    return [
        Incident(
            kind="rollback",
            at_us=change.start_us,
            when=numbers.day(change.start_us, month.timezone),
            what=t(
                "Rolled back: {model} to {version}",
                model=foreign.name(change.model_id),
                version=foreign.name(change.to_version),
            ),
            detail=t(
                "“{change}”: say why, so that the next version does not repeat it.", change=foreign.name(change.title)
            ),
            who=people.who("devops_lead", holders),
            open=False,
        )
        for change in analysis.changes
        if change.kind == "rollback" and month.start_us <= change.start_us < month.end_us
    ]


def _over_budget(
    models: Sequence[Complexity],
    exposures: pd.DataFrame,
    days: Sequence[dt.date],
    month: Month,
    holders: Mapping[str, str],
) -> list[Incident]:
    """Open while the version was asked in the last week that is known."""
    after = _start_us(days[-1], month.timezone) - 6 * DAY_US if days else month.start_us
    late = exposures.loc[exposures["occurred_at"] >= after, ["model_id", "model_version"]].drop_duplicates()
    names = zip(late["model_id"].astype(str), late["model_version"].astype(str), strict=True)
    live = {(foreign.name(model), foreign.name(version)) for model, version in set(names)}
    made = []
    for m in models:
        parts = []
        if m.p95_state == "missed":
            parts.append(t("p95 {value}", value=m.p95))
        if m.errors_state == "missed":
            parts.append(t("errors {value}", value=m.errors))
        if m.features_state == "missed":
            parts.append(t("{n} features", n=m.features))
        if parts:
            made.append(
                Incident(
                    kind="budget",
                    at_us=month.start_us,
                    when=numbers.month(month.name),
                    what=t("Over budget: {model} {version}", model=m.model_id, version=m.version),
                    detail=t("{figures}.", figures=numbers.joined(parts)),
                    who=people.who("product_manager", holders, "edge_systems_engineer"),
                    open=(m.model_id, m.version) in live,
                )
            )
    return made


def _per_day(at: pd.Series[int], timezone: str) -> dict[dt.date, int]:
    local = pd.to_datetime(at, unit="us", utc=True).dt.tz_convert(timezone).dt.tz_localize(None)
    days, counts = np.unique(local.to_numpy().astype("datetime64[D]"), return_counts=True)
    return {day: int(n) for day, n in zip(days.tolist(), counts.tolist(), strict=True)}


def _dates(at: pd.Series[int], timezone: str) -> pd.Series[dt.date]:
    return pd.to_datetime(at, unit="us", utc=True).dt.tz_convert(timezone).dt.date


def _date(us: int, timezone: str) -> dt.date:
    return from_us(us).astimezone(ZoneInfo(timezone)).date()


def _start_us(day: dt.date, timezone: str) -> int:
    return round(dt.datetime.combine(day, dt.time(), ZoneInfo(timezone)).timestamp()) * 1_000_000


def _span(days: Sequence[dt.date]) -> str:
    first, last = numbers.date_text(days[0]), numbers.date_text(days[-1])
    return first if first == last else t("{first} to {last}", first=first, last=last)
