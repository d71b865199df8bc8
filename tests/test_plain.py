"""The short way in gives the very record of the general way, for everything that it does not decline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors import Intake, Item
from connectors.intake import UNREAD, read
from edgeloop.events import decode
from edgeloop.home import Home
from tests.fakes import FixedClock, at

NOW = at("2026-02-03T12:00:00Z")


@pytest.fixture(scope="module")
def intake(tmp_path_factory: pytest.TempPathFactory) -> Intake:
    home = Home(tmp_path_factory.mktemp("plain") / "home")
    home.create()
    return Intake(home, FixedClock(NOW))


_ids = st.sampled_from(["C-1", " C-1 ", "", "undefined", "{{cid}}", 7, 7.0, 7.5, True, None, "Ä\u0000", "x" * 600])
_texts = st.sampled_from(["a", "", "ring me at hello@example.com", "\ud800", "nul \u0000", "Ärger C-1"])
_times = st.sampled_from(
    ["2026-02-03T10:00:00Z", "2026-02-03T11:00:00+01:00", "2026-02-03T12:04:59.123456Z", "2026-02-03T12:06:00Z",
     "1969-12-31T23:00:00Z", "0001-01-01T00:00:00+14:00", "2026-02-03T10:00:00", 5]
)  # fmt: skip
_odd: dict[str, st.SearchStrategy[Any]] = {
    "subject": st.sampled_from(["a" * 26, "C-1", None]),
    "courier": st.sampled_from(["b" * 26, None]),
    "extra": st.sampled_from([{}, {"note": "hello@example.com"}, None, 3]),
    "anonymous": st.booleans(),
    "received_at": _times,
    "occurred_at_raw": _times,
    "revision": st.sampled_from([0, 2, -1, "x", 2**60]),
    "v": st.sampled_from([1, 2, 0, True]),
    "delivery_id": _texts,
    "exposure_id": _texts,
    "colour": st.just("green"),
    "error": _texts,
    "value": st.sampled_from([1, 1.5, "1", True, None]),
    "language": st.sampled_from(["de", None, "x" * 50]),
    "partial": st.sampled_from([True, False, None]),
    "courier_id": _ids,
    "fallback": st.sampled_from([True, False, 0, None]),
    "latency_ms": st.sampled_from([1, 1.5, -1, None]),
}
_answers = st.lists(
    st.fixed_dictionaries(
        {"question": st.sampled_from(["nps", ""]), "kind": st.sampled_from(["nps", "text", "boolean", "smell"])},
        optional={
            "value": st.sampled_from([5, 1.5, True, None, 0, 11, -1]),
            "text": _texts,
            "label": _texts,
            "odd": st.just(1),
        },
    ),
    max_size=2,
)


def door_event(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    own: dict[str, dict[str, st.SearchStrategy[Any]]] = {
        "exposure": {
            "exposure_id": st.sampled_from(["e1", "", 5]), "touchpoint": st.just("app"), "model_id": st.just("eta"),
            "model_version": st.sampled_from(["2", 2]), "arm": st.sampled_from(["canary", "not a slug", None]),
        },
        "engagement": {
            "event_id": st.sampled_from(["g1", ""]), "name": st.just("order"), "source": st.just("app"),
        },
        "response": {
            "response_id": st.just("r1"), "respondent": st.sampled_from(["customer", "agent", "dog"]),
            "survey_id": st.just("s"), "source": st.just("app"), "answers": _answers,
        },
    }  # fmt: skip
    required = {"type": st.just(kind), "occurred_at": _times, **own[kind]}
    usual = {"customer_id": st.one_of(st.just("C-1"), _ids)}
    few = st.lists(st.sampled_from(sorted(_odd)), max_size=2, unique=True)
    return few.flatmap(
        lambda names: st.fixed_dictionaries(
            required, optional={**usual, **{n: _odd[n] for n in names if n not in required}}
        )
    )


@given(event=st.sampled_from(["exposure", "engagement", "response"]).flatmap(door_event))
def test_both_ways_give_one_record(intake: Intake, event: dict[str, Any]) -> None:
    raw = json.dumps(event, ensure_ascii=False).encode(errors="surrogatepass")
    short = intake.take([Item(raw, "line 1", UNREAD)], source="test")
    general = intake.take([read(Item(raw, "line 1", UNREAD))], source="test")
    assert [t.rejected for t in short[0]] == [t.rejected for t in general[0]]
    assert [(t.id, t.type) for t in short[0]] == [(t.id, t.type) for t in general[0]]
    if short[0][0].rejected is None:
        (one,), (other,) = short[1], general[1]
        assert (one.topic, one.key) == (other.topic, other.key)
        assert decode(one.value) == decode(other.value)
        assert msgspec.json.decode(one.value) == msgspec.json.decode(other.value)


def test_the_usual_event_takes_the_short_way(intake: Intake, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("the general way")

    monkeypatch.setattr(intake, "_record", fail)
    event = {
        "type": "exposure", "exposure_id": "e1", "occurred_at": "2026-02-03T10:00:00Z", "customer_id": "C-1",
        "courier_id": "K-1", "touchpoint": "app", "model_id": "eta", "model_version": "2", "latency_ms": 5,
    }  # fmt: skip
    taken, entries = intake.take([Item(msgspec.json.encode(event), "line 1", UNREAD)], source="test")
    assert taken[0].id == "e1"
    assert b"C-1" not in entries[0].value
    assert b"K-1" not in entries[0].value


def test_paths_are_made(tmp_path: Path) -> None:
    """A second intake of the same home gives the same pseudonyms on either way."""
    home = Home(tmp_path / "home")
    home.create()
    event = {
        "type": "engagement", "event_id": "g", "occurred_at": "2026-02-03T10:00:00Z", "customer_id": "C-9",
        "name": "order", "source": "app",
    }  # fmt: skip
    raw = msgspec.json.encode(event)
    first = Intake(home, FixedClock(NOW)).take([Item(raw, "line 1", UNREAD)], source="test")[1]
    second = Intake(home, FixedClock(NOW)).take([Item(raw, "line 1", msgspec.json.decode(raw))], source="test")[1]
    assert first[0].key == second[0].key
