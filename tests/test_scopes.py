"""What a sender's key may send: types, until when, how fast; and no id of a connector."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from connectors import NOT_ALLOWED, Intake, Item, Scope
from connectors.intake import UNREAD
from edgeloop import sealing
from edgeloop.app import api_keys
from edgeloop.app.rates import Rates
from edgeloop.events import DEAD_LETTERS_TOPIC
from edgeloop.home import Home
from edgeloop.log.local import LocalLog
from edgeloop.settings import Settings
from tests.fakes import FixedClock
from tests.test_cli import Shell, shell
from tests.test_door import NOW, Served, exposure, serving

__all__ = ["shell"]  # a fixture

CLOCK = FixedClock(NOW)  # 2026-02-03
CHANGE = {
    "type": "change", "change_id": "c1", "occurred_at": "2026-02-03T10:00:00Z", "model_id": "m", "to_version": "2",
    "kind": "switch",
}  # fmt: skip
ANSWER = {
    "type": "response", "response_id": "typeform:known:t1", "customer_id": "C-42", "respondent": "customer",
    "occurred_at": "2026-02-03T10:00:00Z", "survey_id": "known", "source": "typeform", "revision": 9,
    "answers": [{"question": "q", "kind": "nps", "value": 0}],
}  # fmt: skip
ORDER = {"type": "engagement", "customer_id": "C-42", "occurred_at": "2026-02-03T10:00:00Z", "name": "o", "source": "s"}


def reasons(door: Served) -> list[str]:
    return [sealing.decode(e.value).reason for e in door.log.entries if e.topic == DEAD_LETTERS_TOPIC]


def test_a_key_of_some_types_sends_no_others(tmp_path: Path) -> None:
    with serving(tmp_path / "home", Settings()) as door:
        door.key = api_keys.create(door.home, "handheld", CLOCK, types=("exposure", "telemetry"))
        answer = door.post([exposure(1), CHANGE, exposure(2) | {"note": "the general way"}])
        assert answer.status_code == 202
        assert [r["status"] for r in answer.json()["results"]] == ["accepted", "dead_letter", "accepted"]
        assert answer.json()["results"][1]["reason"] == NOT_ALLOWED
        assert "exposure, telemetry" in answer.json()["results"][1]["error"]
        assert reasons(door) == [NOT_ALLOWED]
        assert f'dead_letters_total{{door="http",reason="{NOT_ALLOWED}"}} 1' in door.metrics()


@pytest.mark.parametrize(
    "event",
    [
        ANSWER,
        ANSWER | {"response_id": "zigpoll:r1", "note": "the general way"},
        ORDER | {"event_id": "mixpanel:abc"},
        exposure(1) | {"exposure_id": "typeform:x"},
    ],
)
def test_an_id_of_a_connector_comes_from_it_alone(tmp_path: Path, event: dict[str, Any]) -> None:
    with serving(tmp_path / "home", Settings()) as door:
        (result,) = door.post([event]).json()["results"]
        assert (result["status"], result["reason"]) == ("dead_letter", NOT_ALLOWED)
        assert door.log.events() == []


@pytest.mark.parametrize(("until", "status"), [("2026-02-02", 401), ("2026-02-03", 202), ("", 202)])
def test_a_key_works_until_the_end_of_its_last_day(tmp_path: Path, until: str, status: int) -> None:
    with serving(tmp_path / "home", Settings()) as door:
        door.key = api_keys.create(door.home, "handheld", CLOCK, until=until)
        answer = door.post([exposure(1)])
        assert answer.status_code == status
        assert status == 202 or until in answer.json()["error"]


def test_a_key_that_sends_too_fast_waits(tmp_path: Path) -> None:
    with serving(tmp_path / "home", Settings()) as door:
        quick = door.key
        door.key = api_keys.create(door.home, "handheld", CLOCK, rate=10)
        assert door.post([exposure(n) for n in range(600)]).status_code == 202
        answer = door.post([exposure(601)])
        assert answer.status_code == 429
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        door.key = quick
        assert door.post([exposure(602)]).status_code == 202, "another key has its own rate"


def test_a_debt_is_paid_off_by_waiting() -> None:
    now = [0.0]
    rates = Rates(lambda: now[0])
    assert rates.wait_s("a", 10) == 0
    rates.spend("a", 10, 50)
    assert (rates.wait_s("a", 10), rates.wait_s("b", 10), rates.wait_s("a", 0)) == (4, 0, 0)
    now[0] = 3.9
    assert rates.wait_s("a", 10) == 1
    now[0] = 4.1
    assert rates.wait_s("a", 10) == 0
    now[0] = 1_000.0
    rates.spend("a", 10, 11)
    assert rates.wait_s("a", 10) == 1, "a long silence saves no more than a second's events"


def test_the_command_makes_and_lists_such_keys(shell: Shell) -> None:
    limits = ("--types", "exposure,telemetry", "--until", "2999-12-31", "--rate", "200/s")
    assert shell("keys", "create", "--name", "gw", *limits).code == 0
    (key,) = json.loads(shell("keys", "list", "--json").out)
    assert (key["types"], key["until"], key["rate"]) == ("exposure,telemetry", "2999-12-31", "200/s")


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        (("--types", "exposures"), "exposure, response"),
        (("--types", ""), "exposure, response"),
        (("--until", "tomorrow"), "2026-12-31"),
        (("--until", "2020-01-01"), "is over"),
        (("--rate", "0"), "200/s"),
        (("--rate", "fast"), "200/s"),
        (("--person", "--name", "ana", "--rate", "5"), "sends nothing"),
    ],
)
def test_a_wrong_limit_says_what_is_right(shell: Shell, limits: tuple[str, ...], says: str) -> None:
    ran = shell("keys", "create", *limits)
    assert ran.code == 2
    assert says in ran.err


def test_what_a_sender_may_not_send_is_replayed_only_where_somebody_says_so(shell: Shell, tmp_path: Path) -> None:
    home = Home(shell.home)
    home.create()
    log = LocalLog(home.log)
    intake = Intake(home, CLOCK)
    items = [Item(json.dumps(event).encode(), "index 0", UNREAD) for event in (CHANGE, ANSWER)]
    _, entries = intake.take(items, source="http", scope=Scope(("exposure",)))
    log.append(entries)
    log.close()
    assert json.loads(shell("dead-letters", "replay", "--all", "--json").out) == []
    done = json.loads(shell("dead-letters", "replay", "--reason", NOT_ALLOWED, "--json").out)
    # A change may have been meant; under a connector's id nothing ever is.
    assert sorted((one["outcome"], one["events"]) for one in done) == [("accepted", 1), ("refused", 0)]
