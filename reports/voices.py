"""What did customers say, and what did delivery agents say? Apart, and description only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import pandas as pd

from edgeloop.months import Month
from edgeloop.store.rows import Estimate
from reports import foreign, numbers, words
from reports.findings import ArmScore, Question, Quote, VersionScore, Voice
from reports.gathered import ChangeRows
from reports.language import t, tn

FEWEST_ANSWERS = 30
QUOTES = 2
MOST_QUESTIONS = 12
LONGEST_SCALE = 11
_RESPONSE = ["subject", "response_id"]  # an id names a response of one person only
_SCORED = ("nps", "csat", "ces", "rating", "boolean", "number")

Side = Literal["customer", "agent"]
_KEYS: dict[Side, str] = {"customer": "subject", "agent": "courier"}


def voices(
    answers: pd.DataFrame,
    exposures: pd.DataFrame,
    attributions: pd.DataFrame,
    gathered: Sequence[ChangeRows],
    month: Month,
) -> tuple[Voice, ...]:
    """Customers, then agents."""
    sides: tuple[Side, ...] = ("customer", "agent")
    return tuple(
        _voice(side, answers[answers["respondent"] == side], exposures, attributions, gathered, month) for side in sides
    )


def notes(said: Sequence[Voice]) -> tuple[str, ...]:
    """What holds for the section as a whole."""
    if not any(q.versions for v in said for q in v.questions):
        return ()
    return (t("Scores by version credited describe; no comparison of this month asked that question."),)


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


def _voice(
    side: Side,
    own: pd.DataFrame,
    exposures: pd.DataFrame,
    attributions: pd.DataFrame,
    gathered: Sequence[ChangeRows],
    month: Month,
) -> Voice:
    this = within(own, month)
    return Voice(
        key=side,
        title=t("What customers said") if side == "customer" else t("What delivery agents said"),
        response=_response(side, this, within(exposures[["occurred_at", _KEYS[side]]], month)),
        questions=_questions(side, own, attributions, gathered, month),
        quotes=_quotes(this),
        quotes_note="" if this["text"].notna().any() else t("Nobody wrote anything in their own words this month."),
    )


def _response(side: Side, this: pd.DataFrame, exposures: pd.DataFrame) -> str:
    met, answered = exposures[_KEYS[side]].dropna().drop_duplicates(), set(this["subject"].dropna())
    if not answered:
        if side == "customer":
            return t("No answers from customers arrived this month.")
        return t("No answers from delivery agents arrived this month.")
    n = len(answered)
    told = {"n": numbers.count(n), "met": numbers.count(len(met))}
    if met.empty:
        if side == "customer":
            return tn(
                "{n} customer answered; none of the month’s exposures names them, so the response rate is unknown.",
                "{n} customers answered; none of the month’s exposures names them, so the response rate is unknown.",
                n,
                **told,
            )
        return tn(
            "{n} delivery agent answered; none of the month’s exposures names them, so the response rate is unknown.",
            "{n} delivery agents answered; none of the month’s exposures names them, so the response rate is unknown.",
            n,
            **told,
        )
    told["share"] = numbers.percent(int(met.isin(answered).sum()) / len(met))
    if side == "customer":
        return tn(
            "{n} customer answered: {share} of the {met} who met a model this month.",
            "{n} customers answered: {share} of the {met} who met a model this month.",
            n,
            **told,
        )
    return tn(
        "{n} delivery agent answered: {share} of the {met} who met a model this month.",
        "{n} delivery agents answered: {share} of the {met} who met a model this month.",
        n,
        **told,
    )


def _questions(
    side: Side, own: pd.DataFrame, attributions: pd.DataFrame, gathered: Sequence[ChangeRows], month: Month
) -> tuple[Question, ...]:
    scored = own[own["kind"].isin(_SCORED) & own["value"].notna()]
    this, before = within(scored, month), within(scored, month.previous())
    made = []
    for (survey, question), rows in this.groupby(["survey_id", "question"], sort=True):
        kind = str(rows["kind"].iloc[0])
        earlier = before[(before["survey_id"] == survey) & (before["question"] == question)]
        few = len(rows) < FEWEST_ANSWERS
        metric = f"{survey}/{question}"
        arms = () if few else _arms(side, metric, kind, gathered)
        shown = Question(
            label=words.capital(words.label(metric)),
            metric=metric,
            n=numbers.count(len(rows)),
            score="" if few else _of_scale(shown_score(score(rows["value"], kind), kind), rows, kind),
            previous=_previous(earlier, kind),
            counts=() if few else _counts(rows, kind),
            versions=() if few or arms else _versions(side, metric, kind, attributions, month),
            arms=arms,
            too_few=_too_few(len(rows)) if few else "",
        )
        made.append((len(rows), shown))
    return tuple(q for _, q in sorted(made, key=lambda item: (-item[0], item[1].metric))[:MOST_QUESTIONS])


def _of_scale(shown: str, rows: pd.DataFrame, kind: str) -> str:
    high = rows["high"].max()
    if kind in ("nps", "boolean") or pd.isna(high):
        return shown
    return t("{score} of {highest}", score=shown, highest=numbers.number(high))


def _too_few(n: int) -> str:
    return t("too few answers (n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{n})", n=numbers.count(n))


def _previous(rows: pd.DataFrame, kind: str) -> str:
    if len(rows) < FEWEST_ANSWERS:
        n = numbers.count(len(rows))
        return t("too few (n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{n})", n=n) if len(rows) else t("none")
    shown = shown_score(score(rows["value"], kind), kind)
    return t("{score} (n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{n})", score=shown, n=numbers.count(len(rows)))


def _arms(side: Side, question: str, kind: str, gathered: Sequence[ChangeRows]) -> tuple[ArmScore, ...]:
    """Of every comparison that asked it: both versions' scores among all who entered, plain and weighted."""
    made: list[ArmScore] = []
    for own in gathered:
        names = {m.name for m in own.metrics.values() if m.source == "answer" and m.key == question}
        told = [e for e in (*own.rows, *own.others) if e.metric in names and e.response_control is not None]
        told = [e for e in told if (e.respondent or "customer") == side and e.control is not None]
        stage = next((e.stage for e in own.rows if e in told), None)
        told = [e for e in told if e.stage == stage]
        plain = next((e for e in told if not (e.estimator or "").startswith("weighted")), None)
        weighted = next((e for e in told if (e.estimator or "").startswith("weighted")), None)
        if plain is None:
            continue
        old = own.change.from_version or t("old version")
        for treated, version in ((False, old), (True, own.change.to_version)):
            made.append(_arm(own, version, kind, plain, weighted, treated=treated))
    return tuple(made)


def _arm(
    own: ChangeRows, version: str, kind: str, plain: Estimate, weighted: Estimate | None, *, treated: bool
) -> ArmScore:
    n = plain.n_treated if treated else plain.n_control
    response = plain.response_treated if treated else plain.response_control
    few = (n or 0) < FEWEST_ANSWERS

    def shown(e: Estimate | None) -> str:
        value = None if e is None else e.treated if treated else e.control
        return "–" if value is None or few else shown_score(value, kind)

    return ArmScore(
        foreign.name(own.change.title),
        foreign.name(version),
        numbers.count(n or 0),
        numbers.percent(response or 0.0),
        t("too few") if few else shown(plain),
        shown(weighted),
    )


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
    made, told = [], False
    for (model, version), rows in a.groupby(["model_id", "model_version"], sort=True):
        one = rows.drop_duplicates(["outcome_id", "subject"])
        few = len(one) < FEWEST_ANSWERS
        told = told or not few
        shown = t("too few") if few else shown_score(score(one["value"], kind), kind)
        made.append(VersionScore(foreign.name(str(model)), foreign.name(str(version)), numbers.count(len(one)), shown))
    return tuple(made) if told else ()  # a table of "too few" alone says nothing


def _quotes(this: pd.DataFrame) -> tuple[Quote, ...]:
    """One of the unhappiest and one of the happiest who wrote enough to be understood, each told by their score."""
    wrote = this[this["text"].notna()]
    if wrote.empty:
        return ()
    wrote = wrote.assign(line=[foreign.plain(str(text)) for text in wrote["text"]])
    wrote = wrote[wrote["line"].str.len() >= 12].drop_duplicates("line")
    if wrote.empty:
        return ()
    rated = this[this["kind"].isin(("csat", "nps", "rating")) & this["value"].notna()].drop_duplicates(_RESPONSE)
    scores = rated[[*_RESPONSE, "value", "high"]].rename(columns={"value": "score", "high": "best"})
    wrote = wrote.drop(columns=["value", "high"]).merge(scores, how="left", on=_RESPONSE)
    wrote = wrote.sort_values(["score", "response_id", "position"], kind="stable", na_position="first")
    picked = wrote.iloc[[0, -1]] if len(wrote) > 1 else wrote
    return tuple(
        Quote(str(row["line"]), _given(row["score"], row["best"])) for _, row in picked.head(QUOTES).iterrows()
    )


def _given(value: float | None, best: float | None) -> str:
    if value is None or pd.isna(value):
        return t("gave no score")
    if best is None or pd.isna(best):
        return t("gave {score}", score=numbers.number(value))
    return t("gave {score} of {highest}", score=numbers.number(value), highest=numbers.number(best))
