"""What was refused or left behind comes again: dead letters through their doors, a log into another home."""

from __future__ import annotations

import gzip
import json
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from connectors import Intake, Item, intake, native, typeform, zigpoll
from edgeloop import sealing
from edgeloop.clock import DAY_US, SystemClock, to_us
from edgeloop.events import DEAD_LETTERS_TOPIC, decode
from edgeloop.home import SEALING_KEY, Home
from edgeloop.horizon import Horizon
from edgeloop.log.base import Entry, LogUnavailableError
from edgeloop.log.local import LocalLog
from edgeloop.sealing import Sealer
from edgeloop.settings import DoorSettings, Settings, TypeformSettings
from edgeloop.store.reader import SqliteReader
from edgeloop.store.schema import DEAD_LETTERS, EVENT_TABLES, TABLES
from tests.chaos.senders import door_form
from tests.fakes import FixedClock, at
from tests.pipeline import in_order
from tests.test_cli import GOOD, Shell, shell, write
from tests.test_typeform import ALL_TYPES, api, page
from tests.test_zigpoll import ROW
from tests.worlds import shuffled_with_duplicates, world

__all__ = ["shell"]  # a fixture

THEN = SystemClock().now_us() - DAY_US
"""Yesterday: dead letters are kept 30 days."""
FIRST, SECOND = GOOD.encode().splitlines()
MIXPANEL = (
    b'{"event":"order","properties":{"time":1790000000,"distinct_id":"C-1","$insert_id":"i1","value":3,'
    b'"currency":"EUR"}}'
)
SETTINGS = Settings(door=DoorSettings(earliest=date(1, 1, 1)))
"""The worlds go back to 1969."""


@pytest.fixture(autouse=True)
def worlds_of_any_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGELOOP_DOOR_EARLIEST", "0001-01-01")


def by_door(home: Path, source: str, items: list[Item], clock_us: int = THEN) -> None:
    place = Home(home)
    place.create()
    append(home, Intake(place, FixedClock(clock_us)).take(items, source=source)[1])


def append(home: Path, entries: list[Entry]) -> None:
    log = LocalLog(Home(home).log, partitions=SETTINGS.log.partitions)
    try:
        log.append(entries)
    finally:
        log.close()


def letters(shell: Shell, *flags: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(shell("dead-letters", "list", "--json", *flags).out)
    return rows


def ask(shell: Shell, query: str) -> list[dict[str, Any]]:
    assert shell("process").code in (0, 3)
    rows: list[dict[str, Any]] = json.loads(shell("sql", query, "--json").out)
    return rows


@contextmanager
def everything_refused() -> Iterator[None]:
    """As by a version that takes nothing: whatever comes is a dead letter."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intake, "AHEAD_US", -(10**15))
        yield


FEEDS: dict[str, Callable[[Shell, Path], None]] = {
    "http": lambda shell, _: by_door(shell.home, "http", list(native.items_of_body(b"[" + FIRST + b"]"))),
    "file:a.ndjson": lambda shell, path: _run(shell, "ingest", write(path / "a.ndjson", GOOD)),
    "typeform": lambda shell, _: by_door(
        shell.home, "typeform", [typeform.item(json.dumps(ALL_TYPES).encode(), SETTINGS.typeform)]
    ),
    "typeform:p.json": lambda shell, path: _run(
        shell, "ingest", "--from", "typeform", "--form", "fAbC12", write(path / "p.json", json.dumps(page(api())))
    ),
    "zigpoll": lambda shell, _: by_door(
        shell.home, "zigpoll", zigpoll.items(json.dumps(ROW).encode(), SETTINGS.zigpoll, THEN)
    ),
    "zigpoll:z.json": lambda shell, path: _run(
        shell, "ingest", "--from", "zigpoll", write(path / "z.json", json.dumps(ROW))
    ),
    "mixpanel:m.ndjson": lambda shell, path: _run(
        shell, "ingest", "--from", "mixpanel", write(path / "m.ndjson", MIXPANEL.decode())
    ),
}


def _run(shell: Shell, *words: str) -> None:
    assert shell(*words).code in (0, 3)


def rows_of(home: Path) -> list[tuple[Any, ...]]:
    """Every stored event, without when it came and what a second home has of its own."""
    reader = SqliteReader(home / "store.sqlite")
    found = []
    for table in EVENT_TABLES.values():
        names = ", ".join(f'"{name}"' for name in table.names if name != "received_at")
        found += [(table.name, *row) for row in reader.query(f"SELECT {names} FROM {table.name}")[1]]
    reader.close()
    return in_order(found)


@pytest.mark.parametrize("source", FEEDS)
def test_what_a_later_version_takes_is_what_it_would_have_taken(shell: Shell, tmp_path: Path, source: str) -> None:
    with everything_refused():
        FEEDS[source](shell, tmp_path)
    before = letters(shell)
    assert {letter["source"] for letter in before} == {source}
    assert {letter["state"] for letter in before} == {"waiting"}
    form = ("--form", "fAbC12") if source == "typeform:p.json" else ()
    ran = shell("dead-letters", "replay", "--all", "--json", *form)
    assert ran.code == 0, ran.err
    assert {row["outcome"] for row in json.loads(ran.out)} == {"accepted"}
    shell("process")
    assert {letter["state"] for letter in letters(shell)} == {"replayed"}
    assert [letter["id"] for letter in letters(shell)] == [letter["id"] for letter in before]
    other = Shell(tmp_path / "other", shell._capsys)
    shutil.copytree(shell.home / "keys", other.home / "keys")
    FEEDS[source](other, tmp_path)
    assert other("process").code == 0
    assert rows_of(shell.home) == rows_of(other.home) != []


def test_a_form_that_is_known_now(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    strict = Settings(typeform=TypeformSettings(forms=("another",)))
    by_door(shell.home, "typeform", [typeform.item(json.dumps(ALL_TYPES).encode(), strict.typeform)])
    monkeypatch.setenv("EDGELOOP_TYPEFORM_FORMS", "another")
    (letter,) = letters(shell, "--reason", "unknown_form")
    ran = shell("dead-letters", "replay", letter["id"][:6])
    assert ran.code == 3
    assert f"{letter['id']} stays (typeform, body): the form is not in" in ran.err
    shell("process")
    assert letters(shell) == [letter], "still the one it was"
    monkeypatch.setenv("EDGELOOP_TYPEFORM_FORMS", "another,fAbC12")
    ran = shell("dead-letters", "replay", "--reason", "unknown_form")
    assert (ran.code, "replayed: 1 dead letter, 1 event accepted" in ran.err) == (0, True)
    (row,) = ask(shell, "SELECT survey_id, received_at FROM responses")
    assert row == {"survey_id": "fAbC12", "received_at": THEN}, "it came when the letter came"
    (listed,) = letters(shell)
    assert listed["state"] == "replayed"
    assert listed["replayed"] > "2026-01-01"
    nothing = shell("dead-letters", "replay", "--all", "--json")
    assert (nothing.code, json.loads(nothing.out)) == (0, [])
    assert shell("dead-letters", "replay", letter["id"]).code == 0, "by its id it can be sent again"
    (row,) = ask(shell, "SELECT (SELECT count(*) FROM responses) AS n, sum(duplicates) AS twice FROM offsets")
    assert row == {"n": 1, "twice": 1}


def test_what_was_dated_in_the_future_when_it_came_still_is(shell: Shell) -> None:
    by_door(shell.home, "http", list(native.items_of_body(FIRST)), at("2026-10-05T08:00:00Z"))
    ran = shell("dead-letters", "replay", "--all")
    assert ran.code == 3
    assert "ahead of the time it was received" in ran.err


def test_a_body_of_which_only_a_part_is_taken_stays(shell: Shell) -> None:
    by_door(shell.home, "http", list(native.items_of_body(b'[{"a":1},')))
    by_reason = {letter["reason"]: letter for letter in letters(shell)}
    assert len(by_reason) == len(letters(shell)) == 2, "the event, and that the array breaks off behind it"
    (letter,) = (letter for reason, letter in by_reason.items() if reason != "malformed")
    sealer = Sealer(Home(shell.home).secret(SEALING_KEY))
    raw = b"[" + FIRST + b",5]"
    made = sealer.dead_letter(
        reason="malformed", detail="", source="http", place="body", received_us=THEN, raw=raw
    )  # as if an earlier version could read no such array
    append(shell.home, [Entry(DEAD_LETTERS_TOPIC, made.dead_letter_id, sealing.encode(made))])
    ran = shell("dead-letters", "replay", made.dead_letter_id, letter["id"], "--json")
    assert ran.code == 3
    assert {row["id"]: (row["outcome"], row["events"]) for row in json.loads(ran.out)} == {
        made.dead_letter_id: ("partly", 1),
        letter["id"]: ("refused", 0),
    }
    assert {row["state"] for row in letters(shell)} == {"waiting"}
    assert [row["exposure_id"] for row in ask(shell, "SELECT exposure_id FROM exposures")] == ["x-1"]


def test_a_record_that_the_worker_can_read_now(shell: Shell, tmp_path: Path) -> None:
    assert shell("ingest", write(tmp_path / "a.ndjson", GOOD)).code == 0
    log = LocalLog(shell.home / "log.sqlite")
    (value,) = (v for p in range(4) for v in log.read("edge.exposures", p, 0, 9, 1 << 20).values)
    log.close()
    again = value.replace(b"x-1", b"x-9")
    sealer = Sealer(Home(shell.home).secret(SEALING_KEY))
    for topic, raw in (("edge.exposures", again), ("model.changes", again), ("edge.telemetry", b"no")):
        letter = sealer.dead_letter(
            reason="undecodable", detail="", source=f"log:{topic}/0", place="offset 7", received_us=THEN, raw=raw
        )
        append(shell.home, [Entry(DEAD_LETTERS_TOPIC, letter.dead_letter_id, sealing.encode(letter))])
    ran = shell("dead-letters", "replay", "--source", "log", "--json")
    assert ran.code == 3
    assert sorted((row["source"], row["outcome"]) for row in json.loads(ran.out)) == [
        ("log:edge.exposures/0", "accepted"),
        ("log:edge.telemetry/0", "refused"),
        ("log:model.changes/0", "refused"),
    ]
    rows = ask(shell, "SELECT exposure_id, received_at FROM exposures ORDER BY 1")
    assert [row["exposure_id"] for row in rows] == ["x-1", "x-9"]
    assert rows[1]["received_at"] == to_us(decode(again).received_at or pytest.fail("no stamp"))


def test_what_was_kept_in_part_or_not_at_all_is_named(shell: Shell, tmp_path: Path) -> None:
    long = '{"type":"x","note":"' + "x" * 600_000 + '"}\n'
    broken = tmp_path / "b.gz"
    broken.write_bytes(gzip.compress(GOOD.encode() * 50)[:-9])
    assert shell("ingest", write(tmp_path / "long.ndjson", long), str(broken)).code == 3
    ran = shell("dead-letters", "replay", "--all")
    assert ran.code == 3
    assert "only the first 4,096 of 600,022 bytes were kept" in ran.err
    assert "it tells of damage and holds no bytes" in ran.err


def test_the_list_is_filtered_and_counted(shell: Shell, tmp_path: Path) -> None:
    bad = write(tmp_path / "bad.ndjson", 'nonsense\n{"type":"x"}\n{"type":"y"}\n')
    shell("ingest", bad)
    assert shell("dead-letters").err.splitlines()[-1] == "3 dead letters wait: 2 unknown_type, 1 malformed"
    assert [letter["place"] for letter in letters(shell, "--reason", "malformed")] == ["line 1"]
    assert len(letters(shell, "--source", "file")) == len(letters(shell, "--source", "file:bad.ndjson")) == 3
    assert letters(shell, "--source", "http") == []
    assert shell("dead-letters", "replay").code == 2
    assert shell("dead-letters", "replay", "zzz").code == 2


def test_a_replay_that_the_log_does_not_take_marks_nothing(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with everything_refused():
        shell("ingest", write(tmp_path / "a.ndjson", GOOD))

    def full(_self: LocalLog, _entries: object) -> None:
        raise LogUnavailableError("the log did not take 2 records: disk full")

    with monkeypatch.context() as patch:
        patch.setattr(LocalLog, "append", full)
        ran = shell("dead-letters", "replay", "--all")
    assert (ran.code, "disk full. Run the same again" in ran.err) == (1, True)
    assert {letter["state"] for letter in letters(shell)} == {"waiting"}
    assert shell("dead-letters", "replay", "--all").code == 0


# A log moves to another home.


def filled(shell: Shell, tmp_path: Path) -> None:
    rng = random.Random(5)
    bodies = [door_form(body) for body in shuffled_with_duplicates(rng, world(rng, 150), 0.1)]
    text = "\n".join(json.dumps(body) for body in bodies)
    assert shell("ingest", write(tmp_path / "w.ndjson", text + '\nnonsense\n{"type":"x"}\n')).code == 3
    append(
        shell.home,
        [
            Entry("edge.exposures", "k1", b"no event\nat all \xff"),
            Entry("edge.exposures", "k2", b'{"type":"exposure"}'),
            Entry("model.changes", "k3", FIRST),
            Entry(DEAD_LETTERS_TOPIC, "k4", b'{"dead_letter_id":1}'),
        ],
    )
    assert shell("process").code == 3


def every_row(home: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every table whole, but for what no two homes share: the log's identity and spelling, and what is sealed anew."""
    own = {"cluster_id", "topic_id", "last_sha256", "sealed"}
    reader = SqliteReader(home / "store.sqlite")
    found = {}
    for table in TABLES:
        names = ", ".join(f'"{name}"' for name in table.names if name not in own)
        found[table.name] = in_order(reader.query(f"SELECT {names} FROM {table.name}")[1])
    reader.close()
    return found


@pytest.mark.parametrize("name", ["all.ndjson", "all.ndjson.gz"])
def test_another_home_has_the_same_tables(shell: Shell, tmp_path: Path, name: str) -> None:
    filled(shell, tmp_path)
    before = every_row(shell.home)
    ran = shell("replay", "--export", name)
    assert (ran.code, ran.out) == (0, f"{name}\n")
    assert f"copy {shell.home / 'keys'} to the new home" in ran.err
    assert Path(name).stat().st_mode & 0o777 == 0o600
    data = Path(name).read_bytes()
    assert (data[:2] == b"\x1f\x8b") == name.endswith(".gz")
    other = Shell(tmp_path / "other", shell._capsys)
    shutil.copytree(shell.home / "keys", other.home / "keys")
    ran = other("replay", name, "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)[0]["by_topic"]["dead.letters"] == 3
    assert other("process").code == 3
    after = every_row(other.home)
    received = [row for row in before[DEAD_LETTERS.name] if row[3].startswith("log:")]
    assert len(received) == 4
    for rows in (before, after):  # the worker's own letters came when the log took the record, here another time
        rows[DEAD_LETTERS.name] = [
            (*row[:5], *row[6:]) if row[3].startswith("log:") else row for row in rows[DEAD_LETTERS.name]
        ]
    assert after == before
    for letter in letters(other):
        assert other("dead-letters", "show", letter["id"], "--json").code == 0
    assert other("replay", name).code == 0, "a second time does no harm"
    other("process")
    twice = every_row(other.home)
    assert {t: rows for t, rows in twice.items() if t in EVENT_TABLES or t == "attributions"} == {
        t: rows for t, rows in before.items() if t in EVENT_TABLES or t == "attributions"
    }


def test_an_export_of_a_part(shell: Shell, tmp_path: Path) -> None:
    assert shell("ingest", write(tmp_path / "a.ndjson", GOOD)).code == 0
    assert "written: 1 record" in shell("replay", "--export", "e.ndjson", "--topic", "edge.exposures").err
    _, line = (tmp_path / "e.ndjson").read_bytes().splitlines()
    assert json.loads(line)["type"] == "exposure"
    assert b"C-42" not in line
    assert "written: 2 records" in shell("replay", "--export", "s.ndjson", "--since", "2020-01-01").err
    assert "written: 0 records" in shell("replay", "--export", "u.ndjson", "--until", "2020-01-01T00:00:00Z").err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("replay",), "name at least one file"),
        (("replay", "x", "--since", "2026-01-01"), "belong to --export"),
        (("replay", "x", "--export", "y"), "either files to append"),
        (("replay", "--export", "a.ndjson"), "is there already"),
        (("replay", "--export", "y", "--topic", "nope"), "no such topic"),
        (("replay", "--export", "y", "--since", "yesterday"), "--since: write a date"),
        (("replay", "--export", "y", "--since", "2026-10-05T10:00:00"), "with its zone"),
        (("replay", "missing"), "cannot read missing"),
        (("replay", "a.ndjson"), "take it in with `edgeloop ingest`. Nothing was appended"),
    ],
)
def test_wrong_use(shell: Shell, tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    shell("ingest", write(tmp_path / "a.ndjson", GOOD))
    ran = shell(*words)
    assert (ran.code, ran.out) == (2, "")
    assert says in ran.err
    assert not (tmp_path / "y").exists()


def test_a_home_without_the_keys_or_with_others_takes_no_export(shell: Shell, tmp_path: Path) -> None:
    shell("ingest", write(tmp_path / "a.ndjson", GOOD))
    shell("replay", "--export", "all.ndjson")
    other = Shell(tmp_path / "other", shell._capsys)
    ran = other("replay", "all.ndjson")
    assert ran.code == 1
    assert "copy the folder keys/" in ran.err
    assert not other.home.exists()
    Home(other.home).create()
    ran = other("replay", "all.ndjson")
    assert ran.code == 1
    assert "exported from a home with other keys" in ran.err
    assert not (other.home / "log.sqlite").exists()


def test_simulated_time_stays_apart(shell: Shell, tmp_path: Path) -> None:
    Home(shell.home).mark_simulated()
    by_door(shell.home, "http", list(native.items_of_body(FIRST)))
    shell("replay", "--export", "sim.ndjson")
    other = Shell(tmp_path / "other", shell._capsys)
    shutil.copytree(shell.home / "keys", other.home / "keys")
    assert other("replay", "sim.ndjson").code == 0
    assert Home(other.home).simulated
    real = Shell(tmp_path / "real", shell._capsys)
    shutil.copytree(shell.home / "keys", real.home / "keys")
    real("ingest", write(tmp_path / "a.ndjson", GOOD))
    assert real("replay", "sim.ndjson").code == 1
    real("replay", "--export", "real.ndjson")
    assert other("replay", "real.ndjson").code == 1
    dumped = (tmp_path / "real.ndjson").read_text().split("\n", 1)[1]
    assert other("replay", write(tmp_path / "dump.ndjson", dumped)).code == 1, "a dump without a head is real"


SUBJECT = "a" * 26
LINE = (
    '{"type":"engagement","event_id":"g","subject":"SUBJECT","occurred_at":"2026-10-05T18:30:00Z","name":"n",'
    '"source":"app","received_at":"2026-10-05T18:31:00Z"}'
).replace("SUBJECT", SUBJECT)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("nonsense", "malformed"),
        ("[1]", "invalid"),
        ('{"type":"engagement","event_id":"g"}', "door_form"),
        (LINE.replace('"name"', '"customer_id":"C-42","name"'), "door_form"),
        (LINE.replace(SUBJECT, "C-42"), "invalid"),
        (LINE.replace("engagement", "order"), "invalid"),
        ('{"dead_letter_id":"x"}', "invalid"),
        ('{"topic":"nope","key":"k","value_base64":"eA=="}', "invalid"),
        ('{"topic":"edge.exposures","key":"k","value_base64":"?"}', "invalid"),
    ],
)
def test_lines_that_are_no_records_are_dead_letters(shell: Shell, tmp_path: Path, line: str, reason: str) -> None:
    Home(shell.home).create()
    third = LINE.replace('"g"', '"h"')
    ran = shell("replay", write(tmp_path / "dump.ndjson", f"{LINE}\n{line}\n{third}\n"))
    assert ran.code == 3
    assert "appended: 2 records; 1 dead letter" in ran.err
    assert "dump.ndjson, line 2: " in ran.err
    assert "C-42" not in ran.err
    (letter,) = letters(shell)
    assert (letter["reason"], letter["source"], letter["place"]) == (reason, "replay:dump.ndjson", "line 2")
    assert shell("dead-letters", "replay", "--all").code == 3, "replayed as a line, it still is none"
    rows = ask(shell, "SELECT event_id, subject FROM engagement ORDER BY 1")
    assert rows == [{"event_id": "g", "subject": SUBJECT}, {"event_id": "h", "subject": SUBJECT}]


def test_what_lies_before_the_horizon_stays_out(shell: Shell, tmp_path: Path) -> None:
    with everything_refused():
        shell("ingest", write(tmp_path / "a.ndjson", GOOD))
    log = LocalLog(shell.home / "log.sqlite")
    log.set_horizon(Horizon(at("2026-11-01T00:00:00Z"), at("2026-10-01T00:00:00Z")))
    log.close()
    ran = shell("replay", write(tmp_path / "dump.ndjson", LINE))
    assert (ran.code, "what happened earlier was pruned here" in ran.err) == (3, True)
    ran = shell("dead-letters", "replay", "--all", "--json")
    outcomes = {(row["source"], row["place"]): row["outcome"] for row in json.loads(ran.out)}
    assert outcomes == {
        ("file:a.ndjson", "line 1"): "accepted",  # exposures are kept for one window more
        ("file:a.ndjson", "line 2"): "refused",
        ("replay:dump.ndjson", "line 1"): "refused",
    }


def test_what_the_contract_does_not_know_stays_outside(shell: Shell, tmp_path: Path) -> None:
    Home(shell.home).create()
    line = LINE.replace('"name"', '"email":"anna@example.org","name"')
    assert shell("replay", write(tmp_path / "dump.ndjson", line)).code == 0
    assert b"anna@" not in b"".join(p.read_bytes() for p in shell.home.glob("log.sqlite*"))


def test_notes_of_replays_are_of_no_importance_to_an_older_log(tmp_path: Path) -> None:
    log = LocalLog(tmp_path / "log.sqlite", clock=FixedClock(7))
    assert log.replayed("accepted") == {}
    log.note_replayed([], "accepted")
    log.note_replayed(["a", "b"], "accepted")
    log.note_replayed(["c"], "partly")
    assert log.replayed("accepted") == {"a": 7, "b": 7}
    log.close()
    again = LocalLog(tmp_path / "log.sqlite", clock=SystemClock())
    again.note_replayed(["a"], "accepted")
    assert again.replayed("accepted")["a"] > 7
    again._db.pragma("query_only", 1)
    with pytest.raises(LogUnavailableError, match="1 notes"):
        again.note_replayed(["a"], "accepted")
    again.close()
