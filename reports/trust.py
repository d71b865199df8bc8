"""Can you trust this? What was not matched, late or refused, and the checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from edgeloop.clock import DAY_US
from edgeloop.months import Month
from edgeloop.store.freeze import Manifest
from edgeloop.store.rows import Check
from edgeloop.store.unseen import NamedDeliveries
from reports import foreign, numbers, units, words
from reports.findings import CheckRow, CheckState, Line, Trust
from reports.gathered import ChangeRows
from reports.language import t, tn
from reports.units import Unit
from reports.voices import within

MIN_FULL_DAYS = 7
MOST_CHECKS, MOST_REASONS = 40, 8
_WORST: dict[CheckState, int] = {"block": 0, "warn": 1, "no data": 2, "ok": 3}


def trust(
    checks: Sequence[Check],
    titles: Mapping[str, str],
    frames: Mapping[str, pd.DataFrame],
    manifest: Manifest,
    month: Month,
    gathered: Sequence[ChangeRows] = (),
) -> Trust:
    """The section; checks that found nothing are counted, the others named."""
    drawn = {own.change.change_id: own.unit for own in gathered}
    rows = sorted(
        (
            _check(
                check, foreign.name(titles.get(check.change_id, check.change_id)), drawn.get(check.change_id, "subject")
            )
            for check in checks
        ),
        key=lambda row: (_WORST[row.state], row.change, row.check),
    )
    named = tuple(row for row in rows if row.state != "ok")[:MOST_CHECKS]
    n = sum(row.state == "ok" for row in rows)
    passed = tn("{n} more check found nothing.", "{n} more checks found nothing.", n, n=numbers.count(n)) if n else ""
    return Trust(_summary(rows), _lines(frames, manifest, month, gathered), named, passed)


def _summary(rows: Sequence[CheckRow]) -> str:
    if not rows:
        return t("No comparison was made this month, so there was nothing to check.")
    blocked = list(dict.fromkeys(row.change for row in rows if row.state == "block"))
    if blocked:
        names = numbers.joined([foreign.quoted(title) for title in blocked])
        return t("Do not trust the comparison of {changes} yet.", changes=names)
    warned = sum(row.state == "warn" for row in rows)
    told = {"n": numbers.count(warned), "all": numbers.count(len(rows))}
    if warned:
        return tn(
            "No check stops a verdict; {n} of {all} asks for a look.",
            "No check stops a verdict; {n} of {all} ask for a look.",
            warned,
            **told,
        )
    n = sum(row.state == "ok" for row in rows)
    return t("No check stops a verdict: {n} of {all} passed.", n=numbers.count(n), all=told["all"])


def _check(check: Check, title: str, unit: Unit) -> CheckRow:
    name = _name(check.check, unit)
    if check.stage > 1:
        name = t("{check}, stage {n}", check=name, n=check.stage)
    return CheckRow(title, name, _result(check), check.state)


def _name(check: str, unit: Unit) -> str:
    kind, _, rest = check.partition(":")
    if rest:
        return _name_of(kind, rest, unit)
    return units.check(unit, check) or {
        "share_drift": t("The versions’ shares are steady over the days"),
        "arm_silent": t("No version falls silent while the other is in use"),
        "turned_round": t("The stable arm carries the version declared as the old one"),
        "full_days": t("Full days with complete windows"),
        "anonymous": t("Exposures without a usable id"),
        "known_before": t("As many customers of both versions were known before"),
        "anonymous_arms": t("As many exposures without a usable id in both versions"),
        "no_courier": t("Customers without a courier"),
        "joined_share": t("Outcomes of customers who had met the model"),
    }.get(check, check.replace("_", " "))


def _name_of(kind: str, rest: str, unit: Unit) -> str:
    """Of a check of one metric, or beside another change."""
    metric = foreign.quoted(words.label(rest))
    if kind == "pre_period":
        return units.alike_before(unit, metric)
    if kind == "pre_trend":
        return t("Zones went alike in {metric} before the start", metric=metric)
    if kind == "left_out":
        return t("As much left out of {metric} in both versions", metric=metric)
    if kind == "logged_alike":
        return t("Both versions log the events of {metric} in the same way", metric=metric)
    if kind == "novelty":
        return t("The effect on {metric} is the same every week", metric=metric)
    if kind == "rare_events":
        return t("No alarm of rare {metric}", metric=metric)
    if kind == "response_rate":
        return t("Both versions’ customers answer {metric} alike", metric=metric)
    if kind.startswith("chain_"):
        step = foreign.name(kind.removeprefix("chain_"))
        return t("Both versions’ customers get alike to {metric}: {step}", metric=metric, step=step)
    if kind == "overlap":
        return t("Assigned independently of {change}", change=foreign.quoted(rest))
    if kind == "interaction":
        return t("No more and no less together: {what}", what=foreign.name(rest))
    return f"{kind.replace('_', ' ')}: {foreign.name(rest)}"


_YES_OR_NO = (
    "pre_period",
    "known_before",
    "pre_trend",
    "left_out",
    "logged_alike",
    "anonymous_arms",
    "novelty",
    "response_rate",
    "overlap",
    "interaction",
)


def _result(check: Check) -> str:
    kind = check.check.partition(":")[0]
    if check.state == "no data":
        return t("could not be tested")
    if kind in _YES_OR_NO or kind.startswith("chain_"):
        told = t("no") if check.state in ("warn", "block") else t("yes")
        return _with_p(told, check)
    if kind == "rare_events":
        return t("alarm") if check.state in ("warn", "block") else t("none")
    if kind == "joined_share" and check.value is not None:
        return numbers.percent(check.value)
    if check.check.startswith("srm"):
        return _with_p(t("does not fit the plan") if check.state == "block" else t("fits the plan"), check)
    if check.check == "share_drift":
        return _with_p(t("changes from day to day") if check.state == "block" else t("steady"), check)
    if check.check == "arm_silent":
        return t("one fell silent") if check.state == "block" else t("none did")
    if check.check == "turned_round":
        return t("no")
    if check.value is None:
        return {"ok": t("passed"), "warn": t("look"), "block": t("stops")}[check.state]
    if check.check in ("crossovers", "met_before"):
        return numbers.percent(check.value)
    if check.check == "full_days":
        return t("{n} ({needed} are needed)", n=numbers.count(check.value), needed=numbers.count(MIN_FULL_DAYS))
    return numbers.count(check.value)


def _with_p(told: str, check: Check) -> str:
    return told if check.p is None else t("{result} (p {p})", result=told, p=numbers.p_value(check.p))


def _lines(
    frames: Mapping[str, pd.DataFrame], manifest: Manifest, month: Month, gathered: Sequence[ChangeRows]
) -> tuple[Line, ...]:
    counts = manifest.counts
    refused = {name.split(":", 1)[1]: n for name, n in counts.items() if name.startswith("dead_letters:") and n}
    twice = t(
        "{repeated} repeated messages were counted once; {replaced} records gave way to a better version of "
        "themselves.",
        repeated=numbers.count(counts.get("duplicates", 0)),
        replaced=numbers.count(counts.get("superseded", 0)),
    )
    return (
        Line(t("Not matched"), _unmatched(within(frames["attributions"], month)) + _unseen(manifest.deliveries)),
        Line(t("Late events"), _late(frames, month)),
        Line(t("Refused input"), _refused(refused)),
        Line(t("Sent twice"), twice),
        Line(t("Non-response"), _silent(gathered)),
        Line(t("Method changes"), t("None are recorded by this version.")),
    )


def _silent(gathered: Sequence[ChangeRows]) -> str:
    """What was done about those who did not answer."""
    asked = [e for own in gathered for e in own.rows if e.response_control is not None]
    if not asked:
        return t("No comparison rests on answers, so nothing had to be weighted.")
    weighted = sum((e.estimator or "").startswith("weighted") for e in asked)
    told = {"n": numbers.count(weighted), "all": numbers.count(len(asked))}
    return tn(
        "{n} of {all} comparison of answers is weighted for who answers, by what is known of everybody who entered; "
        "what depends on the answer itself no weight repairs, so bounds stand beside it.",
        "{n} of {all} comparisons of answers are weighted for who answers, by what is known of everybody who entered; "
        "what depends on the answer itself no weight repairs, so bounds stand beside them.",
        len(asked),
        **told,
    )


def _unmatched(attributions: pd.DataFrame) -> str:
    if attributions.empty:
        return t("No outcome was recorded this month.")
    lost, n = unmatched(attributions[attributions["subject"].notna()])
    share = numbers.percent(1 - (n - lost) / n if n else float("nan"))
    return t("{share} of the month’s outcomes could be tied to no model version.", share=share)


def _unseen(deliveries: NamedDeliveries | None) -> str:
    if deliveries is None or not deliveries.unseen:
        return ""
    told = {"named": numbers.count(deliveries.outcomes), "n": numbers.count(deliveries.unseen)}
    return " " + t("Of {named} outcomes that name a delivery, {n} met nothing that was shown of it.", **told)


def unmatched(attributions: pd.DataFrame) -> tuple[int, int]:
    """(outcomes tied to no model version, outcomes), each told by who it is of and its ``outcome_id``."""
    outcome, _ = pd.factorize(attributions["outcome_id"], use_na_sentinel=False)
    who, people = pd.factorize(attributions["subject"], use_na_sentinel=False)
    key = outcome.astype(np.int64) * (len(people) + 1) + who
    model = attributions["model_id"]
    n = len(pd.unique(key))
    return n - len(pd.unique(key[(model.notna() & (model != "")).to_numpy(dtype=bool)])), n


def _late(frames: Mapping[str, pd.DataFrame], month: Month) -> str:
    seen = late = 0
    for table in ("exposures", "responses", "engagement"):
        rows = within(frames[table][["occurred_at", "received_at"]], month)
        seen += len(rows)
        late += int((rows["received_at"] - rows["occurred_at"] > DAY_US).sum())
    if not seen:
        return t("No event was recorded this month.")
    share = numbers.percent(late / seen)
    return t("{share} of the month’s events came more than a day late; all are counted.", share=share)


def _refused(refused: Mapping[str, int]) -> str:
    if not refused:
        return t("None.")
    n = sum(refused.values())
    told = [
        t("{reason} ({n})", reason=foreign.name(reason, 60), n=numbers.count(k))
        for reason, k in sorted(refused.items())
    ]
    return tn(
        "{n} input could not be taken, since the beginning: {reasons}.",
        "{n} inputs could not be taken, since the beginning: {reasons}.",
        n,
        n=numbers.count(n),
        reasons=", ".join(told[:MOST_REASONS]),
    )
