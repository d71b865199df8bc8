"""The views count people's own outcomes: an id names an outcome of one person only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgeloop.app.cli import run
from edgeloop.store.views import VIEWS, View

AT = "2026-02-03T10:0{}:00Z"
SHOWN: dict[str, Any] = {
    "type": "exposure", "exposure_id": "1", "customer_id": "C-1", "occurred_at": AT.format(0), "touchpoint": "app",
    "model_id": "eta", "model_version": "2",
}  # fmt: skip
DID: dict[str, Any] = {
    "type": "engagement", "event_id": "1", "customer_id": "C-1", "occurred_at": AT.format(1), "name": "order_placed",
    "source": "app",
}  # fmt: skip
SAID: dict[str, Any] = {
    "type": "response", "response_id": "1", "customer_id": "C-1", "occurred_at": AT.format(2), "survey_id": "s",
    "respondent": "customer", "source": "app", "answers": [{"question": "q", "kind": "nps", "value": 9}],
}  # fmt: skip


@pytest.fixture
def home(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """Three customers of an app that numbers each one's events from 1; the third was shown nothing."""
    events = [SHOWN, SHOWN | {"customer_id": "C-2"}]
    events += [event | {"customer_id": customer} for event in (DID, SAID) for customer in ("C-1", "C-2", "C-3")]
    (tmp_path / "events.ndjson").write_text("".join(json.dumps(event) + "\n" for event in events))
    for command in (["ingest", str(tmp_path / "events.ndjson")], ["process"]):
        assert run([*command, "--home", str(tmp_path / "home")]) == 0
    capsys.readouterr()
    return tmp_path / "home"


def ask(home: Path, query: str, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    assert run(["sql", query, "--json", "--home", str(home)]) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


def test_one_id_of_three_people_is_three_outcomes(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unattributed = ask(home, "SELECT outcome_name, outcomes, unattributed, share FROM unattributed", capsys)
    assert len(unattributed) == 2
    for row in unattributed:
        assert (row["outcomes"], row["unattributed"], row["share"]) == (3, 1, pytest.approx(1 / 3)), row
    daily = ask(home, "SELECT outcome_name, outcomes, subjects, credit FROM version_outcomes_daily", capsys)
    assert {tuple(row.values()) for row in daily} == {("order_placed", 2, 2, 2.0), ("s/q", 2, 2, 2.0)}
    (answers,) = ask(home, "SELECT answers, respondents FROM version_answers", capsys)
    assert answers == {"answers": 2, "respondents": 2}


def test_the_promoter_score_of_a_version(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two promoters, a passive and a detractor are 25; a question of another kind has no score."""
    people = [f"C-{i}" for i in range(5)]
    events = [SHOWN | {"exposure_id": who, "customer_id": who} for who in people]
    for who, value in zip(people, (9, 10, 8, 0, None), strict=True):
        score = {"question": "nps/1", "kind": "nps"} | ({} if value is None else {"value": value})
        other = {"question": "stars", "kind": "rating", "value": 9, "low": 1, "high": 10}
        events.append(SAID | {"response_id": who, "customer_id": who, "answers": [score, other]})
    (tmp_path / "events.ndjson").write_text("".join(json.dumps(event) + "\n" for event in events))
    for command in (["ingest", str(tmp_path / "events.ndjson")], ["process"]):
        assert run([*command, "--home", str(tmp_path / "home")]) == 0
    capsys.readouterr()
    query = (
        "SELECT survey_question, answers, mean_value, promoter_score, promoter_answers FROM version_answers ORDER BY 1"
    )
    found = [tuple(row.values()) for row in ask(tmp_path / "home", query, capsys)]
    assert found == [("s/nps/1", 5, 6.75, 25.0, 4), ("s/stars", 5, 9.0, None, 0)]


def test_what_names_a_delivery_that_nobody_saw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whether or not the window matched it; what has no usable id could have been shown nothing."""
    shown = [SHOWN | {"delivery_id": "D-1"}, SHOWN | {"exposure_id": "2", "delivery_id": "D-2", "customer_id": "C-2"}]
    shown.append(SHOWN | {"exposure_id": "3", "delivery_id": "D-3", "arm": "holdout"})
    did = [
        DID | {"event_id": "seen", "delivery_id": "D-1"},
        DID | {"event_id": "another's", "delivery_id": "D-2"},
        DID | {"event_id": "never shown", "delivery_id": "D-3"},
        DID | {"event_id": "nowhere", "delivery_id": "D-9", "customer_id": "C-9"},
        DID | {"event_id": "linked", "delivery_id": "D-9", "exposure_id": "1"},
        DID | {"event_id": "none named"},
        DID | {"event_id": "nobody", "delivery_id": "D-9", "customer_id": ""},
    ]
    said = [SAID | {"response_id": str(n), "delivery_id": f"D-{n}"} for n in (1, 2)]
    said.append(SAID | {"response_id": "3", "delivery_id": "D-4", "answers": SAID["answers"] * 2})
    (tmp_path / "events.ndjson").write_text("".join(json.dumps(event) + "\n" for event in shown + did + said))
    for command in (["ingest", str(tmp_path / "events.ndjson")], ["process"]):
        assert run([*command, "--home", str(tmp_path / "home")]) == 0
    capsys.readouterr()
    query = "SELECT outcome_name, outcomes, unattributed, unseen_delivery FROM unattributed ORDER BY outcome_name"
    found = [tuple(row.values()) for row in ask(tmp_path / "home", query, capsys)]
    assert found == [("order_placed", 7, 2, 3), ("s/q", 4, 0, 3)]


@pytest.mark.parametrize("view", VIEWS, ids=[view.name for view in VIEWS])
def test_the_dictionary_has_every_column_of_a_view(home: Path, view: View, capsys: pytest.CaptureFixture[str]) -> None:
    found = ask(home, f"SELECT * FROM {view.name}", capsys)
    assert found
    assert [column.name for column in view.columns] == list(found[0])
    types = {"text": str, "int": int, "real": (float, int), "time": int, "bool": int}
    for row in found:
        for column in view.columns:
            assert row[column.name] is None or isinstance(row[column.name], types[column.kind]), column.name
    assert run(["tables", "--json"]) == 0
    told = [row["column"] for row in json.loads(capsys.readouterr().out) if row["table"] == view.name]
    assert told == ["", *(column.name for column in view.columns)]
