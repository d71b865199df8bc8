"""The freeze's tables ready for sums: text as integer codes, people of exposures and outcomes in one numbering."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.customers import customers, flag
from analysis.groups import stable_order, starts
from analysis.moments import FloatArray, IntArray
from edgeloop.metrics import MetricSettings
from edgeloop.settings import AttributionSettings
from edgeloop.store.schema import CHANGES
from edgeloop.tolerance import TOLERANCE_US, tolerance_us

READ: Mapping[str, tuple[str, ...]] = {
    "exposures": (
        "occurred_at", "subject", "courier", "model_id", "model_version", "arm", "rollout_id", "zone",
        "touchpoint", "device", "segment", "anonymous", "latency_ms", "energy_mj", "features", "error", "fallback",
        "site", "placement",
    ),
    "engagement": ("subject", "occurred_at", "name", "source", "value", "currency", "anonymous"),
    "answers": (
        "response_id", "subject", "respondent", "survey_id", "source", "occurred_at", "position", "question", "kind",
        "value", "low", "high", "text",
    ),
    "responses": ("response_id", "subject", "language", "anonymous"),
    "profiles": ("subject", "occurred_at", "fields"),
    "changes": tuple(c.name for c in CHANGES.columns if c.kind != "blob"),
}  # fmt: skip
"""What of a freeze the estimates read at most. Its exposures are in order of time and id: ids need no reading."""
FIELDS = ("latency_ms", "energy_mj", "features", "error", "fallback")
"""Of exposures: what metrics and covariates can be made of."""
PLACES = ("site", "placement")
"""Of exposures: what only a change's ``cluster`` and ``strata`` can be made of."""
BoolArray = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.signedinteger[Any]]
"""As narrow as the labels allow: to be compared and to index with. Arithmetic needs `Coded.of_rows`."""
ABSENT = -1
WHOLE_SECOND_SOURCES = AttributionSettings().whole_second_sources
NPS_PROMOTER, NPS_DETRACTOR = 9, 6  # 0–10 answers: 9 and 10 count 100, 0 to 6 count −100


@dataclass(frozen=True, slots=True, eq=False)
class Coded:
    """A text column: ``codes`` into ``labels``, −1 where absent."""

    codes: Codes
    labels: pd.Index[str]

    @classmethod
    def of(cls, column: pd.Series[str]) -> Coded:
        """A column as codes in order of first appearance, or of its categories."""
        if isinstance(column.dtype, pd.CategoricalDtype):
            return cls(np.asarray(column.cat.codes), pd.Index(column.cat.categories))
        codes, labels = pd.factorize(column)
        return cls(np.asarray(codes, dtype=np.int64), pd.Index(labels))

    @classmethod
    def within(cls, column: pd.Series[str], labels: pd.Index[str]) -> Coded:
        """A column in another's numbering; −1 also for what that one does not know."""
        own = cls.of(column)
        there = np.append(labels.get_indexer(own.labels), ABSENT).astype(np.int64)
        return cls(there[own.codes], labels)  # −1 takes the last, which is −1

    def of_rows(self, rows: IntArray) -> IntArray:
        """The codes of some rows, wide enough to be multiplied."""
        return self.codes[rows].astype(np.int64)

    def code(self, label: str | None) -> int | None:
        """The code of a label, None where no row has it."""
        if label is None or label not in self.labels:
            return None
        return cast("int", self.labels.get_loc(label))  # labels are unique

    def label(self, code: int) -> str | None:
        """The label of a code."""
        return None if code == ABSENT else str(self.labels[code])

    def occurring(self) -> list[str]:
        """The labels that some row has, in order."""
        return [str(self.labels[i]) for i in np.flatnonzero(np.bincount(_from_one(self.codes))[1:]).tolist()]

    def equals(self, label: str | None, rows: IntArray | None = None) -> BoolArray:
        """Which rows have that label; of some rows, where they are named."""
        code, codes = self.code(label), self.codes if rows is None else self.codes[rows]
        return codes == code if code is not None else np.zeros(len(codes), dtype=bool)

    def isin(self, labels: Collection[str], rows: IntArray | None = None) -> BoolArray:
        """Which rows have one of the labels; of some rows, where they are named."""
        codes = [code for label in sorted(labels) if (code := self.code(label)) is not None]
        return np.isin(self.codes if rows is None else self.codes[rows], codes)


@dataclass(frozen=True, slots=True, eq=False)
class Exposures:
    """Exposures in order of time and id, one element per row in every array.

    ``fields`` are the numeric ones by name, NaN where absent; ``by_model`` are all rows, those of model ``m`` from
    ``model_begins[m]`` to ``model_begins[m + 1]`` (``m`` is a code of ``model``; first come those without one).
    """

    at: IntArray
    subject: Coded
    courier: Coded
    model: Coded
    version: Coded
    arm: Coded
    rollout: Coded
    zone: Coded
    touchpoint: Coded
    device: Coded
    segment: Coded
    anonymous: BoolArray
    fields: Mapping[str, FloatArray]
    by_model: IntArray
    model_begins: IntArray
    places: Mapping[str, Coded] = field(default_factory=dict)
    """``site`` and ``placement``, where a change names them."""

    def where(self, field: str) -> Coded:
        """The column of a field that people can be drawn inside of (`edgeloop.events.Inside`)."""
        return self.places[field] if field in PLACES else cast("Coded", getattr(self, field))

    def customers(self, rows: IntArray) -> BoolArray:
        """Which of some rows are of a customer (`analysis.customers`)."""
        known: BoolArray = (self.subject.codes[rows] != ABSENT) & ~self.anonymous[rows]
        return known

    def of_model(self, model_id: str) -> IntArray:
        """The rows of one model, ascending."""
        code = self.model.code(model_id)
        if code is None:
            return self.by_model[:0]
        return self.by_model[self.model_begins[code] : self.model_begins[code + 1]]


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """Engagement events, or answers, of the people who met any model, sorted by (name, person, time).

    ``person`` is a code of ``Exposures.subject`` (of ``courier`` for agents); ``value`` is NaN where absent;
    ``currency`` is −1 where absent; ``kinds`` says of which kind a question is, ``scales`` from where to where its
    numbers go, where that is known (both empty for engagement).
    """

    person: IntArray
    at: IntArray
    name: Coded
    value: FloatArray
    currency: Coded
    kinds: Mapping[str, str]
    scales: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    row: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """Of answers: their place in the table ``answers``."""
    coarse: BoolArray = field(default_factory=lambda: np.zeros(0, dtype=bool))
    """Which are stamped in whole seconds; empty where none is."""
    others: Outcomes | None = None
    """Of answers: those to the same questions that are no number, or of another kind; no figure holds them."""

    @classmethod
    def sort(
        cls,
        person: IntArray,
        at: IntArray,
        name: Coded,
        value: FloatArray,
        currency: Coded,
        kinds: Mapping[str, str],
        scales: Mapping[str, tuple[float, float]] = MappingProxyType({}),
        row: IntArray | None = None,
        coarse: BoolArray | None = None,
    ) -> Outcomes:
        """Outcomes in any order, put in order."""
        key = name.codes.astype(np.int64) * (int(person.max(initial=0)) + 1) + person
        in_time = bool((at[1:] >= at[:-1]).all())  # as a freeze's rows are
        order = stable_order(key) if in_time else np.lexsort((at, key))
        return cls(
            person[order],
            at[order],
            Coded(name.codes[order], name.labels),
            value[order],
            Coded(currency.codes[order], currency.labels),
            kinds,
            scales,
            np.zeros(0, dtype=np.int64) if row is None else row[order],
            coarse[order] if coarse is not None and coarse.any() else np.zeros(0, dtype=bool),
        )

    def span(self, name: str) -> slice:
        """Where that name's outcomes are."""
        code = self.name.code(name)
        if code is None:
            return slice(0, 0)
        # Of one type with the codes: numpy would make all of them wide first.
        begin, end = np.searchsorted(self.name.codes, np.array([code, code + 1], dtype=self.name.codes.dtype))
        return slice(int(begin), int(end)) if end > begin else slice(0, 0)

    @property
    def surely(self) -> IntArray:
        """When each is sure to have happened: coarse stamps are early by up to the tolerance."""
        return self.at + TOLERANCE_US * self.coarse if len(self.coarse) else self.at

    def lag(self, rows: IntArray, entered_us: IntArray) -> IntArray:
        """How long after an entry each outcome came (`lag`)."""
        return lag(self.at[rows], entered_us, self.coarse[rows] if len(self.coarse) else None)

    def reach(self, rows: IntArray, from_us: int, to_us: int) -> tuple[IntArray, IntArray]:
        """(earliest, latest) moment of the entries with from ≤ `lag` ≤ to, per outcome."""
        at = self.at[rows]
        first, last = at - to_us, at - from_us
        if len(self.coarse):
            coarse = self.coarse[rows]
            if -TOLERANCE_US <= from_us <= 0:
                last[coarse] = at[coarse] + TOLERANCE_US
            if -TOLERANCE_US <= to_us < 0:
                first[coarse] = at[coarse] + TOLERANCE_US + 1
        return first, last


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """Everything the estimates read.

    ``first_seen`` is each person's first exposure or engagement event in the tables, per code of
    ``exposures.subject`` (an event that may have been caused by an exposure a moment later counts as late as it can
    be); ``profiles`` are numeric profile fields. ``begins_us`` is when the data begin, of which the
    tables may hold only what is later.
    """

    exposures: Exposures
    engagement: Outcomes
    answers: Outcomes
    agent_answers: Outcomes
    first_seen: IntArray
    profiles: Outcomes
    begins_us: int = 0
    feeds: Mapping[str, tuple[IntArray, FloatArray]] = field(default_factory=dict)
    """Engagement names that are regressors → when and how much, whoever sent it (a price has no customer)."""


def lag(at: IntArray, entered_us: IntArray, coarse: BoolArray | None) -> IntArray:
    """How long after an entry each outcome came; 0 where a coarse stamp lies before it by the tolerance at most."""
    after: IntArray = at - entered_us
    if coarse is not None:
        after[coarse & (after < 0) & (after >= -TOLERANCE_US)] = 0
    return after


def needed(metrics: Mapping[str, MetricSettings], changes: pd.DataFrame | None = None) -> dict[str, tuple[str, ...]]:
    """What of a freeze the estimates of those metrics read: table → columns.

    Args:
        changes: the freeze's, with ``cluster`` and ``strata``; None: neither is declared.
    """
    fields = {metric.event for metric in metrics.values() if metric.source == "exposures"}
    covariates = [metric.covariate for metric in metrics.values()]
    fields |= {covariate.name for covariate in covariates if covariate.source == "exposure"}
    declared = "" if changes is None else " ".join(map(str, [*changes["cluster"], *changes["strata"]]))
    left_out = (set(FIELDS) - fields) | {place for place in PLACES if place not in declared}
    read = {table: tuple(name for name in names if name not in left_out) for table, names in READ.items()}
    if not any(covariate.source == "profile" for covariate in covariates):
        del read["profiles"]
    return read


def prepare(
    tables: Mapping[str, pd.DataFrame],
    begins_us: int = 0,
    whole_second_sources: Collection[str] = WHOLE_SECOND_SOURCES,
    feeds: Collection[str] = (),
) -> Frames:
    """The tables as codes, outcomes cut to the people who met any model; the input stays as it is.

    Args:
        whole_second_sources: whose outcomes may seem to lie before their cause, as the credits have it.
        feeds: engagement names that are read as daily series (`Frames.feeds`).
    """
    exposures = _exposures(tables["exposures"])
    engagement = _engagement(tables["engagement"], exposures.subject.labels, whole_second_sources)
    answers = tables["answers"]
    agent = (answers["respondent"] == "agent").to_numpy(dtype=bool)
    first_seen = np.full(len(exposures.subject.labels), np.iinfo(np.int64).max)
    known = exposures.subject.codes != ABSENT
    np.minimum.at(first_seen, exposures.subject.codes[known], exposures.at[known])
    np.minimum.at(first_seen, engagement.person, engagement.surely)
    return Frames(
        exposures,
        engagement,
        _answers(answers[~agent], exposures.subject.labels, np.flatnonzero(~agent), whole_second_sources),
        _answers(answers[agent], exposures.courier.labels, np.flatnonzero(agent), whole_second_sources),
        first_seen,
        _profiles(tables.get("profiles"), exposures.subject.labels),
        begins_us,
        {name: _feed(tables["engagement"], name) for name in sorted(set(feeds))},
    )


def _feed(engagement: pd.DataFrame, name: str) -> tuple[IntArray, FloatArray]:
    rows = np.flatnonzero((engagement["name"] == name).to_numpy(dtype=bool))
    at = engagement["occurred_at"].to_numpy(dtype=np.int64)[rows]
    value = pd.to_numeric(engagement["value"].iloc[rows]).to_numpy(dtype=np.float64)
    return at, value


def _exposures(frame: pd.DataFrame) -> Exposures:
    frame = _in_order(frame)
    model = Coded.of(frame["model_id"])
    return Exposures(
        at=frame["occurred_at"].to_numpy(dtype=np.int64),
        subject=Coded.of(frame["subject"]),
        courier=Coded.of(frame["courier"]),
        model=model,
        version=Coded.of(frame["model_version"]),
        arm=Coded.of(frame["arm"]),
        rollout=Coded.of(frame["rollout_id"]),
        zone=Coded.of(frame["zone"]),
        touchpoint=Coded.of(frame["touchpoint"]),
        device=Coded.of(frame["device"]),
        segment=Coded.of(frame["segment"]),
        anonymous=flag(frame["anonymous"]),
        fields={name: _field(name, frame[name]) for name in FIELDS if name in frame},
        by_model=stable_order(model.codes),
        model_begins=starts(_from_one(model.codes), len(model.labels) + 1)[1:],
        places={name: Coded.of(frame[name]) for name in PLACES if name in frame},
    )


def _in_order(frame: pd.DataFrame) -> pd.DataFrame:
    """Exposures by (time, id), as a freeze has them; ids of other tables are looked at."""
    at = frame["occurred_at"].to_numpy(dtype=np.int64)
    ordered = bool((at[1:] >= at[:-1]).all())
    ids = frame["exposure_id"].to_numpy(dtype=object) if "exposure_id" in frame else None
    if ordered and ids is not None:
        tied = np.flatnonzero(at[1:] == at[:-1])
        ordered = all(ids[i] <= ids[i + 1] for i in tied.tolist())
    if ordered:
        return frame
    keys = pd.DataFrame({"at": at, "id": ids if ids is not None else ""})
    return frame.iloc[keys.sort_values(["at", "id"], kind="stable").index]


def _field(name: str, column: pd.Series[Any]) -> FloatArray:
    if name == "error":
        return np.asarray(column.notna(), dtype=np.float64)
    return np.asarray(flag(column), dtype=np.float64) if name == "fallback" else _number(column)


def _from_one(codes: Codes) -> IntArray:
    """Codes with 0 for absent."""
    return codes.astype(np.int64) + 1


def _profiles(frame: pd.DataFrame | None, people: pd.Index[str]) -> Outcomes:
    """Numeric fields of customers' profiles, one element per field of a record."""
    rows: list[tuple[int, int, str, float]] = []
    if frame is not None and len(frame):
        person = Coded.within(frame["subject"], people).codes
        wanted = np.flatnonzero((person != ABSENT) & frame["fields"].notna().to_numpy(dtype=bool))
        at = frame["occurred_at"].to_numpy(dtype=np.int64)
        texts = frame["fields"].iloc[wanted].tolist()
        for i, text in zip(wanted.tolist(), texts, strict=True):
            rows += [
                (int(person[i]), int(at[i]), name, float(value))
                for name, value in json.loads(text).items()
                if isinstance(value, int | float) and not isinstance(value, bool)
            ]
    nobody = Coded(np.full(len(rows), ABSENT, dtype=np.int64), pd.Index([], dtype=object))
    return Outcomes.sort(
        np.array([r[0] for r in rows], dtype=np.int64),
        np.array([r[1] for r in rows], dtype=np.int64),
        Coded.of(pd.Series([r[2] for r in rows], dtype=object)),
        np.array([r[3] for r in rows], dtype=np.float64),
        nobody,
        {},
    )


def coarse_stamps(frame: pd.DataFrame, whole_second_sources: Collection[str]) -> BoolArray:
    """Which rows' stamps have a tolerance."""
    if "source" not in frame:
        return np.zeros(len(frame), dtype=bool)
    source = Coded.of(frame["source"])
    return source.isin([s for s in source.labels if tolerance_us(str(s), whole_second_sources)])


def _engagement(frame: pd.DataFrame, people: pd.Index[str], whole_second_sources: Collection[str]) -> Outcomes:
    person = Coded.within(frame["subject"], people).codes
    known = (person != ABSENT) & customers(frame)
    name, currency = Coded.of(frame["name"]), Coded.of(frame["currency"])
    return Outcomes.sort(
        person[known],
        frame["occurred_at"].to_numpy(dtype=np.int64)[known],
        Coded(name.codes[known], name.labels),
        _number(frame["value"])[known],
        Coded(currency.codes[known], currency.labels),
        {},
        coarse=coarse_stamps(frame, whole_second_sources)[known],
    )


def _answers(
    frame: pd.DataFrame, people: pd.Index[str], row: IntArray, whole_second_sources: Collection[str]
) -> Outcomes:
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
    made = Outcomes.sort(
        person[known][right],
        kept["occurred_at"].to_numpy(dtype=np.int64)[right],
        name,
        np.where(nps, coded, number),
        Coded(np.full(len(number), ABSENT, dtype=np.int64), pd.Index([], dtype=object)),
        kinds,
        _scales(question[right], kept[right]),
        row[known][right],
        coarse_stamps(kept, whole_second_sources)[right],
    )
    in_figure = np.zeros(len(frame), dtype=bool)
    in_figure[np.flatnonzero(known)[right]] = True
    return replace(made, others=_others(frame[(person != ABSENT) & ~in_figure], people, kinds, whole_second_sources))


def _others(
    frame: pd.DataFrame, people: pd.Index[str], kinds: Mapping[str, str], whole_second_sources: Collection[str]
) -> Outcomes | None:
    """Answers to questions that have numbers, without being one."""
    question = frame["survey_id"].astype(object) + "/" + frame["question"].astype(object)
    asked = question.isin(kinds).to_numpy(dtype=bool)
    if not asked.any():
        return None
    rows, nothing = frame[asked], np.full(int(np.count_nonzero(asked)), ABSENT, dtype=np.int64)
    return Outcomes.sort(
        Coded.within(rows["subject"], people).codes,
        rows["occurred_at"].to_numpy(dtype=np.int64),
        Coded.of(question[asked]),
        np.full(len(rows), np.nan),
        Coded(nothing, pd.Index([], dtype=object)),
        {},
        coarse=coarse_stamps(rows, whole_second_sources),
    )


def _scales(question: pd.Series[str], answers: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """Question → the ends of its scale, as most of its answers say."""
    ends = pd.DataFrame({"question": question, "low": _number(answers["low"]), "high": _number(answers["high"])})
    counts = ends.dropna().value_counts().rename("n").reset_index()
    first = counts.sort_values(["question", "n", "low", "high"], ascending=[True, False, True, True])
    return {
        str(q): (float(low), float(high))
        for q, low, high in first.drop_duplicates("question")[["question", "low", "high"]].itertuples(index=False)
    }


def _main_kinds(question: pd.Series[str], kind: pd.Series[str]) -> dict[str, str]:
    counts = pd.DataFrame({"question": question, "kind": kind.astype(object)}).value_counts(["question", "kind"])
    ranked = counts.rename("n").reset_index().sort_values(["question", "n", "kind"], ascending=[True, False, True])
    first = ranked.drop_duplicates("question")
    return dict(zip(first["question"].astype(str), first["kind"].astype(str), strict=True))


def _number(column: pd.Series[float]) -> FloatArray:
    return pd.to_numeric(column).to_numpy(dtype=np.float64, na_value=np.nan)
