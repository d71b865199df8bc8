"""What did customers say, and what did delivery agents say? Apart, and description only."""

from __future__ import annotations

import unicodedata
from typing import Literal

import pandas as pd

from edgeloop.months import Month
from reports import numbers, words
from reports.findings import Question, Quote, VersionScore, Voice

FEWEST_ANSWERS = 30
QUOTES = 2
QUOTE_LENGTH = 200
LONGEST_SCALE = 11
_SCORED = ("nps", "csat", "ces", "rating", "boolean", "number")

Side = Literal["customer", "agent"]
_TITLES: dict[Side, str] = {"customer": "What customers said", "agent": "What delivery agents said"}
_PEOPLE: dict[Side, str] = {"customer": "customers", "agent": "delivery agents"}
_KEYS: dict[Side, str] = {"customer": "subject", "agent": "courier"}


def voices(
    answers: pd.DataFrame, exposures: pd.DataFrame, attributions: pd.DataFrame, month: Month
) -> tuple[Voice, ...]:
    """Customers, then agents."""
    sides: tuple[Side, ...] = ("customer", "agent")
    return tuple(_voice(side, answers[answers["respondent"] == side], exposures, attributions, month) for side in sides)


def within(frame: pd.DataFrame, month: Month) -> pd.DataFrame:
    """The rows of a month."""
    return frame[(frame["occurred_at"] >= month.start_us) & (frame["occurred_at"] < month.end_us)]


def score(values: pd.Series, kind: str) -> float:
    """The mean; of a promoter question promoters less detractors, in points."""
    if kind == "nps":
        return float(((values >= 9).mean() - (values <= 6).mean()) * 100)
    return float(values.mean())


def shown_score(value: float, kind: str) -> str:
    """As printed."""
    if kind == "nps":
        return numbers.signed(value, 0)
    return numbers.percent(value) if kind == "boolean" else numbers.number(value, 2)


def plain(text: str, limit: int = QUOTE_LENGTH) -> str:
    """On one line, without control or direction marks, cut at a word where it is too long."""
    kept = "".join(" " if unicodedata.category(c).startswith("C") else c for c in text)
    line = " ".join(kept.split())
    if len(line) <= limit:
        return line
    cut = line[: limit - 1]
    return (cut.rsplit(" ", 1)[0] if " " in cut[limit // 2 :] else cut).rstrip(" ,.;:") + "…"


def _voice(side: Side, own: pd.DataFrame, exposures: pd.DataFrame, attributions: pd.DataFrame, month: Month) -> Voice:
    this = within(own, month)
    return Voice(
        key=side,
        title=_TITLES[side],
        response=_response(side, this, within(exposures, month)),
        questions=_questions(side, own, attributions, month),
        quotes=_quotes(this),
        quotes_note="" if this["text"].notna().any() else "Nobody wrote anything in their own words this month.",
    )


def _response(side: Side, this: pd.DataFrame, exposures: pd.DataFrame) -> str:
    met, answered = set(exposures[_KEYS[side]].dropna()), set(this["subject"].dropna())
    people = _PEOPLE[side]
    if not answered:
        return f"No answers from {people} arrived this month."
    told = f"{numbers.count(len(answered))} {people} answered"
    if not met:
        return f"{told}; none of the month’s exposures names them, so the response rate is unknown."
    share = len(answered & met) / len(met)
    return f"{told}: {numbers.percent(share)} of the {numbers.count(len(met))} who met a model this month."


def _questions(side: Side, own: pd.DataFrame, attributions: pd.DataFrame, month: Month) -> tuple[Question, ...]:
    scored = own[own["kind"].isin(_SCORED) & own["value"].notna()]
    this, before = within(scored, month), within(scored, month.previous())
    made = []
    for (survey, question), rows in this.groupby(["survey_id", "question"], sort=True):
        kind = str(rows["kind"].iloc[0])
        earlier = before[(before["survey_id"] == survey) & (before["question"] == question)]
        few = len(rows) < FEWEST_ANSWERS
        metric = f"{survey}/{question}"
        made.append(
            Question(
                label=words.capital(words.label(metric)),
                metric=metric,
                n=numbers.count(len(rows)),
                score="" if few else shown_score(score(rows["value"], kind), kind) + _scale_text(rows, kind),
                previous=_previous(earlier, kind),
                counts=() if few else _counts(rows, kind),
                versions=() if few else _versions(side, metric, kind, attributions, month),
                too_few=f"too few answers (n = {len(rows)})" if few else "",
            )
        )
    return tuple(sorted(made, key=lambda q: (-int(q.n.replace(",", "")), q.metric)))


def _scale_text(rows: pd.DataFrame, kind: str) -> str:
    high = rows["high"].max()
    return f" of {numbers.number(high)}" if kind not in ("nps", "boolean") and pd.notna(high) else ""


def _previous(rows: pd.DataFrame, kind: str) -> str:
    if len(rows) < FEWEST_ANSWERS:
        return f"too few (n = {len(rows)})" if len(rows) else "none"
    return f"{shown_score(score(rows['value'], kind), kind)} (n = {numbers.count(len(rows))})"


def _counts(rows: pd.DataFrame, kind: str) -> tuple[tuple[str, int], ...]:
    low, high = rows["low"].min(), rows["high"].max()
    values = rows["value"]
    if kind == "nps":
        parts = (
            ("0–6", values <= 6),
            ("7–8", (values > 6) & (values < 9)),
            ("9–10", values >= 9),
        )
        return tuple((label, int(inside.sum())) for label, inside in parts)
    if pd.isna(low) or pd.isna(high) or not 2 <= high - low + 1 <= LONGEST_SCALE or (values % 1 != 0).any():
        return ()
    return tuple((str(point), int((values == point).sum())) for point in range(int(low), int(high) + 1))


def _versions(side: Side, metric: str, kind: str, attributions: pd.DataFrame, month: Month) -> tuple[VersionScore, ...]:
    a = within(attributions, month)
    a = a[(a["outcome_type"] == "answer") & (a["outcome_name"] == metric) & (a["respondent"] == side)]
    a = a[(a["model_id"].fillna("") != "") & a["value"].notna() & (a["credit"] > 0)]
    made = []
    for (model, version), rows in a.groupby(["model_id", "model_version"], sort=True):
        one = rows.drop_duplicates(["outcome_id", "subject"])
        few = len(one) < FEWEST_ANSWERS
        shown = f"too few answers (n = {len(one)})" if few else shown_score(score(one["value"], kind), kind)
        made.append(VersionScore(str(model), str(version), numbers.count(len(one)), shown))
    return tuple(made)


def _quotes(this: pd.DataFrame) -> tuple[Quote, ...]:
    """One of the unhappiest and one of the happiest who wrote enough to be understood, each told by their score."""
    wrote = this[this["text"].notna()]
    if wrote.empty:
        return ()
    wrote = wrote.assign(line=[plain(str(text)) for text in wrote["text"]])
    wrote = wrote[wrote["line"].str.len() >= 12].drop_duplicates("line")
    if wrote.empty:
        return ()
    rated = this[this["kind"].isin(("csat", "nps", "rating")) & this["value"].notna()].drop_duplicates("response_id")
    scores = rated.set_index("response_id")[["value", "high"]]
    wrote = wrote.join(scores.rename(columns={"value": "score", "high": "best"}), on="response_id")
    wrote = wrote.sort_values(["score", "response_id", "position"], kind="stable", na_position="first")
    picked = wrote.iloc[[0, -1]] if len(wrote) > 1 else wrote
    return tuple(
        Quote(str(row["line"]), _given(row["score"], row["best"])) for _, row in picked.head(QUOTES).iterrows()
    )


def _given(value: float | None, best: float | None) -> str:
    if value is None or pd.isna(value):
        return "gave no score"
    of = f" of {numbers.number(best)}" if best is not None and pd.notna(best) else ""
    return f"gave {numbers.number(value)}{of}"
