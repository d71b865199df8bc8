"""Can you trust this? Answers from the door to a decision, what was not matched, late or refused, and the checks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import pandas as pd

from edgeloop.clock import DAY_US
from edgeloop.months import Month
from edgeloop.store.freeze import Manifest
from edgeloop.store.rows import Check
from reports import numbers
from reports.changes import ChangeRows
from reports.findings import CheckRow, CheckState, Funnel, Line, Trust
from reports.voices import within

MIN_FULL_DAYS = 7
_SIDES = (("customer", "Customers"), ("agent", "Delivery agents"))
_NAMES = {
    "srm": "People shared out as planned",
    "srm_combined": "People shared out as planned, all stages",
    "share_drift": "The arms’ share is steady over the days",
    "crossovers": "People who met both versions",
    "arm_silent": "No arm falls silent while the other speaks",
    "met_before": "People who met the new version in an earlier stage",
    "full_days": "Full days with complete windows",
    "anonymous": "Exposures without a usable id",
    "no_courier": "Customers without a courier",
}
_WORST: dict[CheckState, int] = {"block": 0, "warn": 1, "no data": 2, "ok": 3}


def used_answers(gathered: Sequence[ChangeRows]) -> frozenset[tuple[str, str, str]]:
    """(model, question, side) of every survey row that a verdict rests on."""
    return frozenset(
        (e.model_id, e.metric, e.respondent or "customer")
        for own in gathered
        for e in own.rows
        if e.response_control is not None and e.decided_by is not None and e.verdict is not None
    )


def funnels(
    answers: pd.DataFrame, attributions: pd.DataFrame, used: Collection[tuple[str, str, str]], month: Month
) -> tuple[Funnel, ...]:
    """Answers of a month: collected, joined to a model version, and credited to a model whose verdict used them."""
    a = within(attributions[attributions["outcome_type"] == "answer"], month)
    a = a[a["model_id"].fillna("") != ""]
    key = a["outcome_id"].astype(str) + "\n" + a["subject"].astype(str)
    told = pd.Series(
        list(zip(a["model_id"], a["outcome_name"], a["respondent"], strict=True)), index=a.index, dtype=object
    )
    behind = told.isin(list(used))
    this = within(answers, month)
    return tuple(
        Funnel(
            title,
            int((this["respondent"] == side).sum()),
            int(key[a["respondent"] == side].nunique()),
            int(key[(a["respondent"] == side) & behind].nunique()),
        )
        for side, title in _SIDES
    )


def trust(
    found: Sequence[Funnel],
    checks: Sequence[Check],
    titles: Mapping[str, str],
    frames: Mapping[str, pd.DataFrame],
    manifest: Manifest,
    month: Month,
) -> Trust:
    """The section."""
    rows = sorted(
        (_check(check, titles.get(check.change_id, check.change_id)) for check in checks),
        key=lambda row: (_WORST[row.state], row.change),
    )
    return Trust(_summary(rows), tuple(found), _lines(frames, manifest, month), tuple(rows))


def _summary(rows: Sequence[CheckRow]) -> str:
    if not rows:
        return "No comparison was made this month, so there was nothing to check."
    blocked = list(dict.fromkeys(row.change for row in rows if row.state == "block"))
    if blocked:
        return f"Do not trust the comparison of {numbers.joined([f'“{title}”' for title in blocked])} yet."
    warned = sum(row.state == "warn" for row in rows)
    if warned:
        return f"No check stops a verdict; {warned} of {len(rows)} {'asks' if warned == 1 else 'ask'} for a look."
    return f"No check stops a verdict: {sum(row.state == 'ok' for row in rows)} of {len(rows)} passed."


def _check(check: Check, title: str) -> CheckRow:
    name = _NAMES.get(check.check, check.check.replace("_", " "))
    if check.stage > 1:
        name += f", stage {check.stage}"
    return CheckRow(title, name, _result(check), check.state)


def _result(check: Check) -> str:
    if check.state == "no data":
        return "could not be tested"
    if check.check.startswith("srm") or check.check == "share_drift":
        verdict = "does not fit the plan" if check.state == "block" else "fits the plan"
        if check.check == "share_drift":
            verdict = "changes from day to day" if check.state == "block" else "steady"
        return verdict if check.p is None else f"{verdict} (p = {numbers.p_value(check.p)})"
    if check.check == "arm_silent":
        return "one fell silent" if check.state == "block" else "none did"
    if check.value is None:
        return check.state
    if check.check in ("crossovers", "met_before"):
        return numbers.percent(check.value)
    if check.check == "full_days":
        return f"{numbers.count(check.value)} ({MIN_FULL_DAYS} are needed)"
    return numbers.count(check.value)


def _lines(frames: Mapping[str, pd.DataFrame], manifest: Manifest, month: Month) -> tuple[Line, ...]:
    counts = manifest.counts
    refused = {name.split(":", 1)[1]: n for name, n in counts.items() if name.startswith("dead_letters:") and n}
    return (
        Line("Not matched", _unmatched(within(frames["attributions"], month))),
        Line("Late events", _late(frames, month)),
        Line("Refused input", _refused(refused)),
        Line(
            "Sent twice",
            f"{numbers.count(counts.get('duplicates', 0))} repeated deliveries were counted once; "
            f"{numbers.count(counts.get('superseded', 0))} records gave way to a better version of themselves.",
        ),
        Line("Non-response", "Scores are of those who answered; weights for those who did not are not estimated yet."),
        Line("Method changes", "None are recorded by this version."),
    )


def _unmatched(attributions: pd.DataFrame) -> str:
    if attributions.empty:
        return "No outcome was recorded this month."
    matched = (attributions["model_id"].fillna("") != "").groupby([attributions["subject"], attributions["outcome_id"]])
    share = 1 - float(matched.any().mean())
    return f"{numbers.percent(share)} of the month’s outcomes could be tied to no model version."


def _late(frames: Mapping[str, pd.DataFrame], month: Month) -> str:
    seen = late = 0
    for table in ("exposures", "responses", "engagement"):
        rows = within(frames[table], month)
        seen += len(rows)
        late += int((rows["received_at"] - rows["occurred_at"] > DAY_US).sum())
    if not seen:
        return "No event was recorded this month."
    return f"{numbers.percent(late / seen)} of the month’s events came more than a day late; all are counted."


def _refused(refused: Mapping[str, int]) -> str:
    if not refused:
        return "None."
    reasons = ", ".join(f"{reason} ({numbers.count(n)})" for reason, n in sorted(refused.items()))
    return f"{numbers.count(sum(refused.values()))} inputs could not be taken, since the beginning: {reasons}."
