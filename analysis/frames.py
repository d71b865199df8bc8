"""The freeze's tables ready for sums: text as integer codes, people of exposures and outcomes in one numbering."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.moments import FloatArray, IntArray

BoolArray = npt.NDArray[np.bool_]
ABSENT = -1
NPS_PROMOTER, NPS_DETRACTOR = 9, 6  # 0–10 answers: 9 and 10 count 100, 0 to 6 count −100


@dataclass(frozen=True, slots=True, eq=False)
class Coded:
    """A text column: ``codes`` into ``labels``, −1 where absent."""

    codes: IntArray
    labels: pd.Index[str]

    @classmethod
    def of(cls, column: pd.Series[str]) -> Coded:
        """A column as codes in order of first appearance."""
        codes, labels = pd.factorize(column)
        return cls(codes.astype(np.int64), pd.Index(labels))

    @classmethod
    def within(cls, column: pd.Series[str], labels: pd.Index[str]) -> Coded:
        """A column in another's numbering; −1 also for what that one does not know."""
        return cls(labels.get_indexer(pd.Index(column)).astype(np.int64), labels)

    def code(self, label: str | None) -> int | None:
        """The code of a label, None where no row has it."""
        found = int(self.labels.get_indexer(pd.Index([label]))[0]) if label is not None and len(self.labels) else ABSENT
        return None if found == ABSENT else found

    def equals(self, label: str | None) -> BoolArray:
        """Which rows have that label."""
        code = self.code(label)
        return self.codes == code if code is not None else np.zeros(len(self.codes), dtype=bool)

    def isin(self, labels: Collection[str]) -> BoolArray:
        """Which rows have one of the labels."""
        codes = [code for label in sorted(labels) if (code := self.code(label)) is not None]
        return np.isin(self.codes, codes)


@dataclass(frozen=True, slots=True, eq=False)
class Exposures:
    """Exposures of the models at hand, one element per row in every array."""

    exposure_id: pd.Series[str]
    at: IntArray
    subject: Coded
    courier: Coded
    model: Coded
    version: Coded
    arm: Coded
    rollout: Coded
    zone: Coded
    anonymous: BoolArray


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """Engagement events, or answers, of the people who met the models at hand.

    ``person`` is a code of ``Exposures.subject`` (of ``courier`` for agents); ``value`` is NaN where absent;
    ``currency`` is −1 where absent; ``kinds`` says of which kind a question is (empty for engagement).
    """

    person: IntArray
    at: IntArray
    name: Coded
    value: FloatArray
    currency: Coded
    kinds: Mapping[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """Everything the estimates read."""

    exposures: Exposures
    engagement: Outcomes
    answers: Outcomes
    agent_answers: Outcomes


def prepare(tables: Mapping[str, pd.DataFrame], models: Collection[str]) -> Frames:
    """The tables as codes, cut to these models' exposures and to the people who met them; the input stays as it is."""
    exposures = _exposures(tables["exposures"], models)
    engagement = tables["engagement"]
    answers = tables["answers"]
    agent = (answers["respondent"] == "agent").to_numpy(dtype=bool)
    return Frames(
        exposures,
        _engagement(engagement, exposures.subject.labels),
        _answers(answers[~agent], exposures.subject.labels),
        _answers(answers[agent], exposures.courier.labels),
    )


def _exposures(frame: pd.DataFrame, models: Collection[str]) -> Exposures:
    kept = frame[frame["model_id"].isin(list(models)).to_numpy(dtype=bool)]
    return Exposures(
        exposure_id=kept["exposure_id"].reset_index(drop=True),
        at=kept["occurred_at"].to_numpy(dtype=np.int64),
        subject=Coded.of(kept["subject"]),
        courier=Coded.of(kept["courier"]),
        model=Coded.of(kept["model_id"]),
        version=Coded.of(kept["model_version"]),
        arm=Coded.of(kept["arm"]),
        rollout=Coded.of(kept["rollout_id"]),
        zone=Coded.of(kept["zone"]),
        anonymous=_flag(kept["anonymous"]),
    )


def _engagement(frame: pd.DataFrame, people: pd.Index[str]) -> Outcomes:
    person = Coded.within(frame["subject"], people).codes
    known = (person != ABSENT) & ~_flag(frame["anonymous"])
    kept = frame[known]
    return Outcomes(
        person[known],
        kept["occurred_at"].to_numpy(dtype=np.int64),
        Coded.of(kept["name"]),
        _number(kept["value"]),
        Coded.of(kept["currency"]),
        {},
    )


def _answers(frame: pd.DataFrame, people: pd.Index[str]) -> Outcomes:
    """Answers with a number, by ``survey/question``; of a question with several kinds the most frequent."""
    person = Coded.within(frame["subject"], people).codes
    value = _number(frame["value"])
    known = (person != ABSENT) & ~np.isnan(value)
    kept = frame[known]
    question = kept["survey_id"].astype(object) + "/" + kept["question"].astype(object)
    kinds = _main_kinds(question, kept["kind"])
    right = (question.map(kinds) == kept["kind"].astype(object)).to_numpy(dtype=bool)
    name = Coded.of(question[right])
    nps = name.isin([q for q, kind in kinds.items() if kind == "nps"])
    number = value[known][right]
    coded = np.where(number >= NPS_PROMOTER, 100.0, np.where(number <= NPS_DETRACTOR, -100.0, 0.0))
    return Outcomes(
        person[known][right],
        kept["occurred_at"].to_numpy(dtype=np.int64)[right],
        name,
        np.where(nps, coded, number),
        Coded(np.full(len(number), ABSENT, dtype=np.int64), pd.Index([], dtype=object)),
        kinds,
    )


def _main_kinds(question: pd.Series[str], kind: pd.Series[str]) -> dict[str, str]:
    counts = pd.DataFrame({"question": question, "kind": kind.astype(object)}).value_counts(["question", "kind"])
    ranked = counts.rename("n").reset_index().sort_values(["question", "n", "kind"], ascending=[True, False, True])
    first = ranked.drop_duplicates("question")
    return dict(zip(first["question"].astype(str), first["kind"].astype(str), strict=True))


def _flag(column: pd.Series[int]) -> BoolArray:
    return (column == 1).to_numpy(dtype=bool, na_value=False)


def _number(column: pd.Series[float]) -> FloatArray:
    return pd.to_numeric(column).to_numpy(dtype=np.float64, na_value=np.nan)
