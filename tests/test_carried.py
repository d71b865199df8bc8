"""Whose answers a survey's are, by whatever names its hidden fields have, and on which scale each question is."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from connectors import typeform, zigpoll
from connectors.intake import Intake
from edgeloop.errors import UsageError
from edgeloop.events import Response, decode
from edgeloop.home import Home
from edgeloop.identity import usable_id
from edgeloop.settings import ScaleSettings, TypeformSettings, ZigpollSettings, load
from tests.fakes import FixedClock, at

PLAIN = TypeformSettings()
MAPPED = TypeformSettings(hidden={"customer_id": "Kunde", "courier_id": "bote", "language": "sprache"})
BASE = {"form_id": "f", "token": "t", "submitted_at": "2026-10-05T09:00:00Z"}


def read(settings: TypeformSettings = PLAIN, **response: Any) -> dict[str, Any]:
    return typeform.read({"event_type": "form_response", "form_response": BASE | response}, settings).event


@pytest.mark.parametrize(
    ("hidden", "settings", "customer", "courier", "respondent"),
    [
        ({"customer_id": "C-1"}, TypeformSettings(), "C-1", None, "customer"),
        ({"CID": "C-1"}, TypeformSettings(), "C-1", None, "customer"),
        ({"cid": "xxxxx"}, TypeformSettings(), None, None, "customer"),
        ({"customer_id": "xxxxx", "cid": "C-1"}, TypeformSettings(), "C-1", None, "customer"),
        ({"courier_id": "K-7"}, TypeformSettings(), None, "K-7", "agent"),
        ({"courier": "XXX"}, TypeformSettings(), None, None, "agent"),
        ({"kunde": "C-1", "cid": "C-2"}, MAPPED, "C-1", None, "customer"),
        ({"cid": "C-2"}, MAPPED, "C-2", None, "customer"),
        ({"Bote": "K-7"}, MAPPED, None, "K-7", "agent"),
    ],
)
def test_whose_answers(
    hidden: dict[str, Any], settings: TypeformSettings, customer: str | None, courier: str | None, respondent: str
) -> None:
    found = read(settings, hidden=hidden)
    assert (found["customer_id"], found["courier_id"], found["respondent"]) == (customer, courier, respondent)


def test_the_other_hidden_fields() -> None:
    found = read(MAPPED, hidden={"Delivery_ID": "D-1", "exposure_id": "xxxxxx", "Sprache": "de"})
    assert (found["delivery_id"], found["language"]) == ("D-1", "de")
    assert "exposure_id" not in found


@pytest.mark.parametrize("metadata", [{"cid": "C-1"}, {"Customer_ID": "C-1"}, {"ref": "xxxx", "customer_id": "C-1"}])
def test_zigpoll_alike(metadata: dict[str, Any]) -> None:
    row = {"_id": "r", "pollId": "p", "slideId": "s", "createdAt": "2026-03-01T09:00:00Z", "response": "4"}
    found = zigpoll.read(row | {"metadata": metadata}, ZigpollSettings(customer_key="ref"), None)
    assert isinstance(found, dict)
    assert found["customer_id"] == "C-1"
    assert "metadata" not in found["extra"]


@pytest.mark.parametrize(
    ("raw", "wanted"), [("xx", "xx"), ("xxx", None), ("XXXXX", None), (" xxxxx ", None), ("xxxy", "xxxy")]
)
def test_a_placeholder_is_nobody(raw: str, wanted: str | None) -> None:
    assert usable_id(raw) == wanted


def number(value: float, kind: str, ref: str) -> dict[str, Any]:
    return {"type": "number", "number": value, "field": {"id": f"id-{ref}", "type": kind, "ref": ref}}


@pytest.mark.parametrize(
    ("kind", "value", "properties", "settings", "wanted"),
    [
        ("opinion_scale", 8, {}, TypeformSettings(), None),
        ("rating", 10, {}, TypeformSettings(), None),
        ("rating", 3, {"steps": 3}, TypeformSettings(), (1, 3)),
        ("rating", 10, {"steps": 10}, TypeformSettings(), (1, 10)),
        ("opinion_scale", 0, {"steps": 11}, TypeformSettings(), (0, 10)),
        ("opinion_scale", 6, {"steps": 7, "start_at_one": True}, TypeformSettings(), (1, 7)),
        ("opinion_scale", 6, {"steps": "7"}, TypeformSettings(), None),
        ("opinion_scale", 6, {"steps": True}, TypeformSettings(), None),
        ("rating", 4, {}, TypeformSettings(rating_low=1, rating_high=5), (1, 5)),
        ("rating", 4, {"steps": 10}, TypeformSettings(rating_low=1, rating_high=5), (1, 10)),
        ("rating", 4, {"steps": 10}, TypeformSettings(questions={"q": ScaleSettings(low=1, high=7)}), (1, 7)),
        ("number", 4, {}, TypeformSettings(questions={"q": ScaleSettings(low=0, high=7)}), (0, 7)),
        ("nps", 0, {"steps": 5}, TypeformSettings(), (0, 10)),
    ],
)
def test_each_question_has_its_own_scale(
    kind: str, value: float, properties: Any, settings: TypeformSettings, wanted: tuple[float, float] | None
) -> None:
    field = {"id": "id-q", "ref": "q", "type": kind, "properties": properties}
    inside = {"id": "g", "type": "group", "properties": {"fields": [field]}}
    for fields in ([field], [inside]):
        (answer,) = read(settings, definition={"fields": fields}, answers=[number(value, kind, "q")])["answers"]
        assert (answer.get("low"), answer.get("high")) == (wanted or (None, None))


@pytest.mark.parametrize("value", [0, 6])
def test_an_answer_outside_its_scale_is_refused_by_name(value: int, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.create()
    body = {"event_type": "form_response", "form_response": BASE | {
        "definition": {"fields": [{"id": "id-stars", "type": "rating", "properties": {"steps": 5}}]},
        "answers": [number(value, "rating", "stars")],
    }}  # fmt: skip
    intake = Intake(home, FixedClock(at("2026-10-05T12:00:00Z")))
    (taken,), _ = intake.take([typeform.item(json.dumps(body).encode(), TypeformSettings())], source="typeform")
    assert taken.rejected is not None
    assert taken.rejected.reason == "invalid"
    assert taken.rejected.detail == ("`answers[0].value` is outside the question's scale, `low` 1 to `high` 5: stars")


def test_a_response_that_knows_its_scales_takes_the_place_of_one_that_does_not() -> None:
    stars = {"id": "id-stars", "type": "rating", "properties": {"steps": 5}}
    assert read(definition={"fields": [stars]})["revision"] == 1
    assert "revision" not in read(definition={"fields": [stars | {"properties": {}}]})


def test_the_webhook_of_the_documents(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.create()
    page = (Path(__file__).parents[1] / "docs" / "surveys.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    intake = Intake(home, FixedClock(at("2026-10-05T12:00:00Z")))
    (taken,), (entry,) = intake.take([typeform.item(block.encode(), TypeformSettings())], source="typeform")
    assert taken.rejected is None
    event = decode(entry.value)
    assert isinstance(event, Response)
    assert (event.anonymous, event.delivery_id, event.language) == (False, "D-7", "de")
    assert [(a.low, a.high) for a in event.answers] == [(1, 5), (1, 7), (0, 10), (None, None)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('hidden = { custmer_id = "k" }', "custmer_id is unknown (did you mean customer_id?)"),
        ("rating_high = 5", "rating_low and rating_high are set together"),
        ("[typeform.questions.q]\nlow = 5\nhigh = 1", "[typeform.questions.q]: the lower end"),
    ],
)
def test_settings_that_say_nothing_sensible(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "edgeloop.toml").write_text(f"[typeform]\n{text}\n")
    with pytest.raises(UsageError) as caught:
        load(tmp_path, {})
    assert says in str(caught.value)


def test_the_scale_by_the_environment(tmp_path: Path) -> None:
    found = load(tmp_path, {"EDGELOOP_TYPEFORM_RATING_LOW": "0", "EDGELOOP_TYPEFORM_RATING_HIGH": "10"}).typeform
    assert (found.rating_low, found.rating_high) == (0.0, 10.0)
