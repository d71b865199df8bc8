"""A home whose log is on Kafka: every command finds it there, and no key is made where another was used before."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from connectors import Intake, Item
from edgeloop.app import api_keys
from edgeloop.app.door import create_app
from edgeloop.app.ready import log_condition
from edgeloop.clock import SystemClock
from edgeloop.errors import EdgeloopError, HomeError
from edgeloop.events import DEAD_LETTERS_TOPIC
from edgeloop.home import Home
from edgeloop.log.base import Entry
from edgeloop.log.kafka import LARGEST_BYTES, KafkaLog
from edgeloop.log.local import LocalLog
from edgeloop.log.opening import create_home, open_log
from edgeloop.settings import KafkaSettings, Settings, load
from tests.real.kafka import Broker
from tests.test_cli import GOOD, Shell, shell, write

__all__ = ["shell"]  # a fixture

pytestmark = pytest.mark.slow


@pytest.fixture
def settings(kafka_broker: Broker, topic_prefix: str, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings as the environment gives them, with all topics there."""
    monkeypatch.setenv("EDGELOOP_KAFKA_BOOTSTRAP", kafka_broker.bootstrap)
    monkeypatch.setenv("EDGELOOP_KAFKA_TOPIC_PREFIX", topic_prefix)
    assert shell("topics", "create").code == 0
    return load(shell.home)


def on_kafka(settings: Settings) -> dict[str, int]:
    log = KafkaLog(settings.kafka)
    found: dict[str, int] = {}
    for (topic, _), end in log.end_offsets().items():
        found[topic] = found.get(topic, 0) + end
    log.close()
    return {topic: end for topic, end in found.items() if end}


def test_from_a_file_to_the_tables_and_back_out(
    shell: Shell, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "events.ndjson", GOOD + "no event\n")
    ran = shell("ingest", "events.ndjson")
    assert ran.code == 3, ran.err
    assert on_kafka(settings) == {"edge.exposures": 1, "engagement.events": 1, DEAD_LETTERS_TOPIC: 1}
    assert not (shell.home / "log.sqlite").exists()
    assert [row["state"] for row in json.loads(shell("dead-letters", "--json").out)] == ["waiting"]

    assert shell("process").code in (0, 3)
    rows = json.loads(shell("sql", "SELECT count(*) AS n FROM attributions WHERE credit = 1", "--json").out)
    assert rows == [{"n": 1}]
    assert len(json.loads(shell("dead-letters", "--json").out)) == 1, "in the log and in the table, and there once"

    assert shell("replay", "--export", "all.ndjson.gz").code == 0
    assert shell("replay", "--export", "one.ndjson", "--topic", "edge.exposures").code == 0
    assert len((tmp_path / "one.ndjson").read_text().splitlines()) == 2, "the head and one exposure"
    assert shell("replay", "--export", "none.ndjson", "--until", "2020-01-01").code == 0
    assert len((tmp_path / "none.ndjson").read_text().splitlines()) == 1

    # Into a home with a local log, which needs the keys.
    monkeypatch.delenv("EDGELOOP_KAFKA_BOOTSTRAP")
    other = Home(tmp_path / "other")
    other.path.mkdir()
    shutil.copytree(shell.home / "keys", other.keys)
    assert Shell(other.path, shell._capsys)("replay", "all.ndjson.gz").code == 0
    log = LocalLog(other.log)
    assert sum(log.end_offsets().values()) == 3
    log.close()


def test_a_file_of_records_goes_to_kafka(shell: Shell, settings: Settings, tmp_path: Path) -> None:
    create_home(Home(shell.home), settings)
    record = (
        '{"type":"engagement","event_id":"g","occurred_at":"2026-01-01T00:00:00Z","name":"opened","source":"app",'
        '"subject":"%s"}' % ("a" * 26)
    )
    huge = record.replace('"g"', '"h"').replace('"app"', '"app","extra":{"x":"%s"}' % ("y" * LARGEST_BYTES))
    write(tmp_path / "records.ndjson", f"{record}\n{huge}\n")
    ran = shell("replay", "records.ndjson", "--json")
    assert ran.code == 3
    (report,) = json.loads(ran.out)
    assert (report["appended"], report["by_reason"]) == (1, {"too_long": 1})
    assert on_kafka(settings) == {"engagement.events": 1, DEAD_LETTERS_TOPIC: 1}


def test_dead_letters_are_replayed_once(shell: Shell, settings: Settings, tmp_path: Path) -> None:
    home = Home(shell.home)
    create_home(home, settings)
    log = open_log(home, settings)
    raw = GOOD.encode().splitlines()[0]
    refused = Item(raw, "line 1", rejected=_rejected())
    log.append(Intake(home, SystemClock()).take([refused], source="file:events.ndjson")[1])
    log.close()
    assert shell("dead-letters", "replay", "--all").code == 0
    assert on_kafka(settings) == {"edge.exposures": 1, DEAD_LETTERS_TOPIC: 1}
    assert [row["state"] for row in json.loads(shell("dead-letters", "--json").out)] == ["replayed"]
    assert "no dead letter waits" in shell("dead-letters", "replay", "--all").err
    assert on_kafka(settings)["edge.exposures"] == 1
    assert (shell.home / "replays.sqlite").exists()


def _rejected() -> Any:
    from connectors.intake import Rejected

    return Rejected("unknown_type", "an older version knew no exposures")


def test_the_door_appends_to_kafka_and_takes_nothing_too_long(shell: Shell, settings: Settings) -> None:
    home = Home(shell.home)
    create_home(home, settings)
    key = api_keys.create(home, "gateway")
    log = open_log(home, settings)
    app = create_app(home, settings, log, SystemClock())
    huge = json.loads(GOOD.splitlines()[0]) | {"exposure_id": "huge", "note": "x" * LARGEST_BYTES}
    body = GOOD + json.dumps(huge) + "\n"
    answer = sent(app, "POST", "/v1/events", content=body.encode(), headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 202
    assert [one["status"] for one in answer.json()["results"]] == ["accepted", "accepted", "dead_letter"]
    assert answer.json()["results"][2]["reason"] == "too_long"
    condition = sent(app, "GET", "/readyz").json()["conditions"][0]
    assert condition == {"name": "log", "ok": True, "says": "the log can be written"}
    assert "edgeloop_lag_records" in sent(app, "GET", "/metrics").text
    assert on_kafka(settings) == {"edge.exposures": 1, "engagement.events": 1, DEAD_LETTERS_TOPIC: 1}
    log.close()


def sent(app: Starlette, method: str, path: str, **request: Any) -> httpx.Response:
    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://door") as client:
            return await client.request(method, path, **request)

    return asyncio.run(send())


def test_a_door_without_topics_is_not_ready(kafka_broker: Broker, topic_prefix: str, tmp_path: Path) -> None:
    log = KafkaLog(KafkaSettings(bootstrap=kafka_broker.bootstrap, topic_prefix=topic_prefix))
    condition = log_condition(Home(tmp_path), log)
    assert not condition.ok
    assert "`edgeloop topics create`" in condition.says
    log.close()


# Keys


def keys(home: Home) -> list[str]:
    return sorted(path.name for path in home.keys.glob("*"))


def test_keys_are_made_while_kafka_is_empty(settings: Settings, tmp_path: Path) -> None:
    home = Home(tmp_path / "new")
    create_home(home, settings)
    assert keys(home) == ["dead-letters.key", "pseudonym.key"]
    create_home(home, settings)


def test_a_second_home_needs_the_keys_of_the_first(shell: Shell, settings: Settings, tmp_path: Path) -> None:
    write(tmp_path / "events.ndjson", GOOD)
    assert shell("ingest", "events.ndjson").code == 0
    second = Home(tmp_path / "second")
    for path in (second.path, Path("third")):
        ran = Shell(path, shell._capsys)("ingest", "events.ndjson")
        assert ran.code == 1
        assert "a door of another home took them" in ran.err
        assert "copy that home's folder keys/" in ran.err
        assert "`edgeloop keys init`" in ran.err
        assert not path.exists() or not keys(Home(path))
    shutil.copytree(shell.home / "keys", second.keys)
    assert Shell(second.path, shell._capsys)("ingest", "events.ndjson").code == 0
    # A sender's key is no key that events were made with.
    fresh = Home(tmp_path / "fresh")
    api_keys.create(fresh, "gateway")
    with pytest.raises(HomeError, match="a door of another home took them"):
        create_home(fresh, settings)


def test_a_key_that_was_lost_is_not_made_anew(settings: Settings, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    create_home(home, settings)
    (home.keys / "pseudonym.key").unlink()
    create_home(home, settings)
    with pytest.raises(HomeError, match=r"pseudonym\.key is missing, but the log holds events made with it"):
        Intake(home, SystemClock())
    with pytest.raises(HomeError, match="holds real events"):
        home.mark_simulated()


def test_what_teams_wrote_without_a_key_is_no_reason(settings: Settings, tmp_path: Path) -> None:
    log = KafkaLog(settings.kafka)
    log.append([Entry("edge.telemetry", "s-1", b"{}"), Entry("model.changes", "m-1", b"{}")])
    create_home(Home(tmp_path / "home"), settings)
    log.append([Entry(DEAD_LETTERS_TOPIC, "x", b"{}")])
    with pytest.raises(HomeError, match="a door of another home took them"):
        create_home(Home(tmp_path / "other"), settings)
    log.close()


def test_a_producer_of_ones_own_may_be_there_before_the_first_door(
    shell: Shell, settings: Settings, tmp_path: Path
) -> None:
    log = KafkaLog(settings.kafka)
    log.append([Entry("edge.exposures", "x", b"{}")])
    log.close()
    write(tmp_path / "events.ndjson", GOOD)
    refused = shell("ingest", "events.ndjson")
    assert refused.code == 1
    assert "`edgeloop keys init`" in refused.err
    assert shell("keys", "init").code == 0
    made = [(shell.home / "keys" / name).read_bytes() for name in keys(Home(shell.home))]
    assert len(made) == 2
    assert shell("ingest", "events.ndjson").code == 0
    assert "stay as they are" in shell("keys", "init").err
    assert [(shell.home / "keys" / name).read_bytes() for name in keys(Home(shell.home))] == made
    (shell.home / "keys" / "pseudonym.key").unlink()
    assert "made with it" in shell("keys", "init").err, "what was lost is not made anew"


def test_without_a_broker_no_key_is_made(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    nowhere = Settings(kafka=KafkaSettings(bootstrap="127.0.0.1:1"))
    with pytest.raises(EdgeloopError, match=r"no broker answers there.*no keys can be made"):
        create_home(home, nowhere)
    assert not home.path.exists()
    home.create()  # keys that were there before: a door may open, and answer 503 until the brokers are back
    open_log(home, nowhere).close()


def test_a_simulation_keeps_to_its_own_log(settings: Settings, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.mark_simulated()
    log = open_log(home, settings)
    assert isinstance(log, LocalLog)
    log.close()
