"""Questions through the tables: the weighted row decides, the plain one stands beside, and the chain is checked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis import Analysis, analyse
from analysis.estimators import always_valid
from edgeloop.clock import DAY_US
from edgeloop.metrics import MetricSettings
from edgeloop.store.rows import Estimate
from tests.frames import COLUMNS, LATER, MARCH, at, frames
from tests.surveys import Survey, survey

CSAT = {
    "csat": MetricSettings(role="goal", headline=True, source="answers", event="form/csat", kind="mean", window_h=336)
}
CHAIN = (("delivered", "delivered"), ("invited", "survey_sent"))


def tables_of(s: Survey, *, kind: str = "rating", lost: float = 0.0) -> dict[str, pd.DataFrame]:
    """The survey as events; ``lost`` of the new arm's invitations are never sent."""
    n = len(s.score)
    rng = np.random.default_rng(99)
    ids = np.array([f"s{i:05d}" for i in range(n)])
    entry = at(0) + (rng.random(n) * 12 * DAY_US).astype(np.int64)
    exposures = pd.DataFrame(
        {"exposure_id": ids, "subject": ids, "occurred_at": entry, "anonymous": 0, "model_id": "eta",
         "model_version": np.where(s.treated, "v2", "v1"), "arm": np.where(s.treated, "canary", "stable"),
         "rollout_id": "r1", "zone": np.array(["a", "b", "c", "d"])[s.codes[0]],
         "device": np.array(["x", "y", "z"])[s.codes[1]], "segment": np.array(["new", "old"])[s.codes[2]]}
    )  # fmt: skip
    sent = ~(s.treated & (rng.random(n) < lost))
    events = pd.concat(
        [pd.DataFrame({"event_id": [f"{name}{i}" for i in ids], "subject": ids, "occurred_at": entry + DAY_US,
                       "name": name, "anonymous": 0})[there]
         for name, there in (("delivered", np.ones(n, dtype=bool)), ("survey_sent", sent))]
    )  # fmt: skip
    answers = pd.DataFrame(
        {"response_id": ids, "subject": ids, "respondent": "customer", "survey_id": "form", "source": "typeform",
         "occurred_at": entry + 2 * DAY_US, "question": "csat", "kind": kind, "value": s.score, "low": 1.0, "high": 5.0}
    )[s.answered & sent]  # fmt: skip
    tables = frames() | {"exposures": exposures, "engagement": events, "answers": answers}
    return {name: frame.reindex(columns=list(COLUMNS[name])) for name, frame in tables.items()}


def run(tables: dict[str, pd.DataFrame], **options: Any) -> Analysis:
    return analyse(tables, MARCH, freeze_id="f", as_of_us=LATER, **{"metrics": CSAT, "chain": CHAIN, **options})


def rows(found: Analysis) -> list[Estimate]:
    return [e for e in found.estimates if (e.metric, e.dimension) == ("csat", "all")]


def test_the_weighted_row_decides_and_the_plain_one_stands_beside() -> None:
    s = survey(1, n=8_000)
    weighted, plain = rows(run(tables_of(s)))
    assert (weighted.estimator, plain.estimator) == ("weighted", "ratio")
    assert weighted.decided_by is not None
    assert plain.decided_by is None
    assert (plain.reason or "").startswith("unweighted: the weighted figure decides")
    assert plain.effect == pytest.approx(s.plain)
    # The same weights but for one covariate more: how active each was before.
    assert weighted.effect == pytest.approx(s.effect().effect, abs=0.02)
    assert weighted.n_effective is not None
    assert weighted.n_effective < s.answered.sum()
    for words in ("unweighted", "design effect", "(Lee)", "undone if", "scores higher with chance", "top two answers"):
        assert words in (weighted.reason or ""), words


@pytest.mark.parametrize(("planned", "by"), [(7_000, "fixed"), (8_001, "always_valid")])
def test_the_plan_is_of_people_asked_not_of_answers(planned: int, by: str) -> None:
    s = survey(1, n=8_000)
    assert s.answered.sum() < 5_000
    tables = tables_of(s)
    change = {"change_id": "c", "model_id": "eta", "occurred_at": at(0), "to_version": "v2", "from_version": "v1",
              "kind": "canary", "rollout_id": "r1", "unit": "subject", "assignment": "random", "shares_capacity": 0,
              "planned_units": planned}  # fmt: skip
    tables["changes"] = pd.DataFrame([change]).reindex(columns=list(COLUMNS["changes"]))
    weighted = rows(run(tables))[0]
    assert weighted.decided_by == by
    assert weighted.effect is not None
    assert weighted.se is not None
    assert weighted.always_low == pytest.approx(always_valid.interval(weighted.effect, weighted.se, 8_000, planned)[0])


def test_response_that_differs_makes_it_quasi() -> None:
    found = run(tables_of(survey(2, n=8_000)))
    (check,) = [c for c in found.checks if c.check == "response_rate:csat"]
    assert check.state == "warn"
    assert rows(found)[0].grade == "quasi"


def test_the_chain_says_where_answers_are_lost() -> None:
    s = survey(3, n=8_000)
    found = {c.check: c for c in run(tables_of(s, lost=0.4)).checks if c.check.startswith(("chain_", "response_"))}
    assert found["chain_delivered:csat"].state == "ok"
    assert found["chain_invited:csat"].state == "warn"
    assert found["chain_invited:csat"].value == pytest.approx(-0.4, abs=0.03)
    assert "chain_invited:csat" not in {c.check for c in run(tables_of(s), chain=()).checks}


def test_few_answers_are_not_weighted() -> None:
    (row,) = rows(run(tables_of(survey(4, n=160))))
    assert row.estimator == "ratio"
    assert "not enough data" in (row.reason or "")


def test_a_promoter_score_is_weighted_too() -> None:
    s = survey(5, n=8_000)
    tables = tables_of(Survey(s.codes, s.treated, s.score * 2, s.answered), kind="nps")
    weighted, plain = rows(run(tables))
    assert weighted.metric_kind == "nps"
    assert weighted.estimator == "weighted"
    assert abs(weighted.effect or 0) > 5
    assert "top two" not in (weighted.reason or "")
    assert plain.effect != weighted.effect


def test_other_metrics_have_one_row() -> None:
    found = run(tables_of(survey(6, n=2_000)), metrics=CSAT | {"sent": MetricSettings(event="survey_sent")})
    assert len([e for e in found.estimates if (e.metric, e.dimension) == ("sent", "all")]) == 1
