"""`edgeloop doctor` where the tables are in PostgreSQL: connection, layout and the readers' role, one line each."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from edgeloop.app import api_keys, doctor_postgres
from edgeloop.app.cli import run
from edgeloop.app.doctor import examine
from edgeloop.app.finding import Finding
from edgeloop.app.process import process
from edgeloop.home import Home
from edgeloop.settings import load
from tests.fakes import FixedClock
from tests.real.postgres import PASSWORD
from tests.test_doctor import EVENTS, NOW, append

pytestmark = pytest.mark.slow

Sql = Callable[[str], None]


@pytest.fixture
def home(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A sound home whose tables are in a database, with a readers' role of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGELOOP_TYPEFORM_SECRET", "s")
    monkeypatch.setenv("EDGELOOP_ZIGPOLL_TOKEN", "t")
    monkeypatch.setenv("EDGELOOP_STORE_URL", database_url)
    monkeypatch.setenv("EDGELOOP_STORE_READER_ROLE", role_of(database_url))
    made = Home(tmp_path / "home")
    made.create()
    append(made, EVENTS)
    api_keys.create(made, "gateway")
    return made


@pytest.fixture
def drained(home: Home) -> Home:
    process(home, load(home.path))
    return home


@pytest.fixture
def sql(database_url: str) -> Sql:
    def run_it(statement: str) -> None:
        with closing(psycopg.connect(database_url, autocommit=True)) as db:
            db.execute(statement.replace("ROLE_", role_of(database_url)))

    return run_it


def role_of(url: str) -> str:
    """Roles belong to the whole server."""
    return "reader_of_" + url.rpartition("/")[2]


def found(home: Home) -> dict[str, list[Finding]]:
    """By check; nothing of the password, and everything that is wrong says what to do."""
    by_check: dict[str, list[Finding]] = {}
    for finding in examine(home, FixedClock(NOW)):
        assert finding.state == "ok" or finding.do, f"{finding} says not what to do"
        assert PASSWORD not in finding.what + finding.do
        by_check.setdefault(finding.check, []).append(finding)
    return by_check


def wrong(home: Home) -> list[tuple[str, str]]:
    return [(f.state, f.check) for of_check in found(home).values() for f in of_check if f.state != "ok"]


def test_a_sound_database(drained: Home, database_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert wrong(drained) == []
    findings = found(drained)
    assert findings["database"][0].what.startswith("PostgreSQL ")
    assert findings["database"][0].what.endswith(f" answers at postgresql://edgeloop@{database_url.rpartition('@')[2]}")
    assert findings["reader role"][0].what == f"{role_of(database_url)} may read, and nothing else"
    assert {"rules", "offsets", "lag", "dead letters", "clock"} <= findings.keys()
    assert run(["doctor", "--home", str(drained.path)]) == 0
    assert PASSWORD not in capsys.readouterr().out
    assert not drained.store.exists()


def test_before_there_are_tables(home: Home) -> None:
    findings = found(home)
    assert (findings["store"][0].state, findings["store"][0].what[:13]) == ("ok", "no tables yet")
    assert wrong(home) == []


def test_another_layout(drained: Home, sql: Sql, monkeypatch: pytest.MonkeyPatch) -> None:
    sql("UPDATE edgeloop.meta SET value = (value::int + 1)::text WHERE name = 'schema'")
    assert wrong(drained) == [("fail", "store")]
    monkeypatch.setattr(doctor_postgres, "SCHEMA_NUMBER", 99)
    assert wrong(drained) == [("warn", "store")]


@pytest.mark.parametrize(
    ("statement", "state", "what", "do"),
    [
        ("DROP OWNED BY ROLE_; DROP ROLE ROLE_", "warn", "there is no role", "CREATE ROLE"),
        (
            "REVOKE SELECT ON exposures, responses FROM ROLE_",
            "warn",
            "may not read public.exposures and 1 more",
            "GRANT",
        ),
        ("REVOKE USAGE ON SCHEMA public FROM ROLE_, PUBLIC", "warn", "may not read public.", "GRANT USAGE"),
        ("GRANT SELECT ON dead_letters TO ROLE_", "fail", "see dead letters' sealed bytes", "SELECT on public.dead_l"),
        ("GRANT DELETE ON changes TO ROLE_", "fail", "may do more than read: change public.changes", "beyond SELECT"),
        ("ALTER ROLE ROLE_ SUPERUSER", "fail", "see dead letters' sealed bytes, change", "no superuser"),
    ],
)
def test_what_readers_may(drained: Home, sql: Sql, statement: str, state: str, what: str, do: str) -> None:
    for one in statement.split("; "):
        sql(one)
    assert wrong(drained) == [(state, "reader role")]
    (finding,) = found(drained)["reader role"]
    assert what in finding.what
    assert do in finding.do
    if finding.do.startswith("GRANT"):  # what it says to do, does it
        sql(finding.do)
        assert wrong(drained) == []


def test_no_role_of_readers(drained: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGELOOP_STORE_READER_ROLE", "")
    assert found(drained)["reader role"][0].state == "ok"


def test_other_rules(drained: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGELOOP_ATTRIBUTION_CREDIT_RULE", "linear")
    assert wrong(drained) == [("fail", "rules")]


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("postgresql://edgeloop:{}@127.0.0.1:1/edgeloop", "does not answer"),
        ("postgresql://edgeloop:wrong@{}", "password authentication failed"),
        ("mysql://edgeloop:{}@127.0.0.1/edgeloop", "is not of the form"),
    ],
)
def test_a_database_that_does_not_let_us_in(
    drained: Home, database_url: str, monkeypatch: pytest.MonkeyPatch, url: str, what: str
) -> None:
    fill = database_url.rpartition("@")[2] if url.endswith("@{}") else PASSWORD.replace(" ", "%20")
    monkeypatch.setenv("EDGELOOP_STORE_URL", url.format(fill))
    wrong_ones = [f for of_check in found(drained).values() for f in of_check if f.state != "ok"]
    assert wrong_ones[0].check == "store"
    assert what in wrong_ones[0].what


def test_up_says_what_to_run_instead(drained: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["up", "--home", str(drained.path)]) == 2
    assert "run `edgeloop serve`, and `edgeloop process`" in capsys.readouterr().err
