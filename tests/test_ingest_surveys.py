"""Survey answers that come twice, by webhook and in a file: through the log into the tables, each counts once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from connectors import Intake, Item, typeform, zigpoll
from edgeloop.app.process import process
from edgeloop.clock import SystemClock
from edgeloop.home import Home
from edgeloop.log.local import LocalLog
from edgeloop.settings import Settings
from tests.test_cli import Shell, shell, write
from tests.test_typeform import ALL_TYPES, api, page
from tests.test_zigpoll import ROW, WRITE_IN

__all__ = ["shell"]  # a fixture

SETTINGS = Settings()


def by_webhook(home: Path, *items: Item) -> None:
    place = Home(home)
    place.create()
    log = LocalLog(place.log, partitions=SETTINGS.log.partitions)
    try:
        log.append(Intake(place, SystemClock()).take(items, source="test")[1])
    finally:
        log.close()


def table(shell: Shell, query: str) -> list[dict[str, Any]]:
    process(Home(shell.home), SETTINGS)
    rows: list[dict[str, Any]] = json.loads(shell("sql", query, "--json").out)
    return rows


COUNTS = """SELECT (SELECT count(*) FROM responses) AS responses, (SELECT count(*) FROM superseded) AS superseded,
            (SELECT sum(duplicates) FROM offsets) AS duplicates"""


@pytest.mark.parametrize("file_first", [False, True])
def test_a_typeform_response_in_a_file_is_a_duplicate_of_its_webhook(
    shell: Shell, tmp_path: Path, file_first: bool
) -> None:
    def from_file() -> None:
        path = write(tmp_path / "page.json", json.dumps(page(api(), api(token="other")), indent=2))
        assert shell("ingest", "--from", "typeform", "--form", "fAbC12", path).code == 0

    def from_webhook() -> None:
        by_webhook(shell.home, typeform.item(json.dumps(ALL_TYPES).encode(), SETTINGS.typeform))

    for step in (from_file, from_webhook) if file_first else (from_webhook, from_file):
        step()
    assert table(shell, COUNTS) == [{"responses": 2, "superseded": 0, "duplicates": 1}]


@pytest.mark.parametrize("file_first", [False, True])
def test_a_poorer_row_of_a_file_never_takes_a_webhooks_place(shell: Shell, tmp_path: Path, file_first: bool) -> None:
    untyped = [{"type": "number", "number": 9, "field": {"id": "q2", "ref": "nps"}}]

    def from_file() -> None:
        path = write(tmp_path / "row.json", json.dumps(api(form_id="fAbC12", answers=untyped)))
        assert shell("ingest", "--from", "typeform", path).code == 0

    def from_webhook() -> None:
        by_webhook(shell.home, typeform.item(json.dumps(ALL_TYPES).encode(), SETTINGS.typeform))

    for step in (from_file, from_webhook) if file_first else (from_webhook, from_file):
        step()
    assert table(shell, COUNTS) == [{"responses": 1, "superseded": 1, "duplicates": 0}]
    assert table(shell, "SELECT kind FROM answers WHERE question = 'nps'") == [{"kind": "nps"}]


@pytest.mark.parametrize("file_first", [False, True])
def test_an_exported_poll_takes_the_place_of_what_was_pushed(shell: Shell, tmp_path: Path, file_first: bool) -> None:
    def from_file() -> None:
        path = write(tmp_path / "page.json", json.dumps({"data": [ROW, WRITE_IN], "hasNextPage": False}))
        assert shell("ingest", "--from", "zigpoll", path).code == 0

    def from_webhook() -> None:
        by_webhook(shell.home, *zigpoll.items(json.dumps(ROW).encode(), SETTINGS.zigpoll, SystemClock().now_us()))

    for step in (from_file, from_webhook) if file_first else (from_webhook, from_file):
        step()
    from_file()
    assert table(shell, COUNTS) == [{"responses": 2, "superseded": 1, "duplicates": 2}]
    assert "unconfirmed" not in json.dumps(table(shell, "SELECT * FROM responses"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--from", "typeform"), "page.json: line 1, row 0: a response that does not name its form"),
        (("--from", "mixpanel", "--form", "f"), "--form belongs to --from typeform"),
        (("--form", "f"), "--form belongs to --from typeform"),
    ],
)
def test_a_form_that_nobody_named(shell: Shell, tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    ran = shell("ingest", *arguments, write(tmp_path / "page.json", json.dumps(page(api()))))
    assert ran.code == 2
    assert says in " ".join(ran.err.split())
    assert "tok001" not in ran.err


def test_the_one_known_form_is_whose_the_rows_are(shell: Shell, tmp_path: Path) -> None:
    Home(shell.home).create()
    write(shell.home / "edgeloop.toml", '[typeform]\nforms = ["fAbC12"]\n')
    path = write(tmp_path / "page.json", json.dumps(page(api())))
    assert shell("ingest", "--from", "typeform", path).code == 0
    assert table(shell, "SELECT response_id FROM responses") == [{"response_id": "typeform:fAbC12:tok001"}]
    ran = shell("ingest", "--from", "typeform", "--form", "other", path)
    assert (ran.code, "page.json: --form other is not in" in ran.err) == (2, True)


def test_bad_rows_of_a_poll_are_named_and_kept(shell: Shell, tmp_path: Path) -> None:
    rows = [ROW, {"pollId": "p1"}, WRITE_IN | {"createdAt": "2199-01-01T00:00:00Z"}]
    ran = shell("ingest", "--from", "zigpoll", write(tmp_path / "rows.json", json.dumps(rows)))
    assert ran.code == 3
    assert "taken in: 1 event; 2 dead letters" in ran.err
    assert "rows.json, index 1: `slideId` is missing" in ran.err
    letters = json.loads(shell("dead-letters", "--json").out)
    assert {letter["reason"] for letter in letters} == {"malformed", "future"}


def test_config_hides_the_token(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGELOOP_ZIGPOLL_TOKEN", "path-token")
    ran = shell("config")
    assert "zigpoll\ttoken\t(set)" in ran.out
    assert "path-token" not in ran.out + ran.err
