"""From one month's report to the next: what it counted is kept, and what was done since is told."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

import reports
from edgeloop.app.cli import run
from edgeloop.app.monthly import analyse_freeze, month_freeze
from edgeloop.app.report_files import FEEDBACK, file_of
from edgeloop.home import Home
from edgeloop.months import Month
from edgeloop.settings import load
from edgeloop.store.actions import Answer
from edgeloop.store.freeze import FeedbackUse, Manifest
from edgeloop.store.opening import open_reader, open_store
from reports.findings import Feedback
from tests.small_company import MONTH, make_frozen

APRIL = "2026-04"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    path = make_frozen(tmp_path_factory.mktemp("loop") / "home")
    assert run(["report", "--month", MONTH, "--home", str(path)]) == 0
    return Home(path)


def of_april(home: Home) -> tuple[Manifest, Feedback]:
    settings = load(home.path)
    freeze = month_freeze(home, settings, Month.parse(APRIL, settings.timezone))
    return freeze.manifest, reports.build(freeze, analyse_freeze(freeze)).feedback


def test_the_report_and_the_pack_lie_side_by_side(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", "--month", MONTH, "--home", str(home.path), "--json"]) == 0
    (told,) = msgspec.json.decode(capsys.readouterr().out)
    assert told["path"] == str(home.reports / f"{MONTH}.html")
    assert Path(told["workshop"]) == home.reports / f"{MONTH}-workshop.html"
    assert "Agenda: one hour" in Path(told["workshop"]).read_text(encoding="utf-8")


def test_what_a_report_counted_is_in_the_next_month_s_freeze(home: Home) -> None:
    month = Month.parse(MONTH, "Europe/Berlin")
    kept = msgspec.json.decode(file_of(home, month.name, FEEDBACK).read_bytes(), type=tuple[FeedbackUse, ...])
    assert sum(use.named for use in kept) > 0
    manifest, found = of_april(home)
    assert manifest.reported == kept
    assert [(r.collected, r.joined, r.counted, r.named) for r in found.last] == [
        tuple(sum(getattr(use, step) for use in kept) for step in ("collected", "joined", "counted", "named"))
    ]


def test_an_action_that_is_done_makes_its_answers_acted_on(home: Home) -> None:
    settings = load(home.path)
    assert [r.acted for r in of_april(home)[1].last] == [0]
    reader = open_reader(home, settings)
    ((action, change),) = reader.query("SELECT action_id, change_id FROM actions")[1]
    at = reader.query("SELECT max(occurred_at) FROM actions")[1][0][0]
    reader.close()
    assert change == "rebook-2.1"
    store = open_store(home, settings)
    try:
        for state in ("accepted", "done"):
            store.move_action(Answer(action_id=action, occurred_at=at + 1, state=state, who="test"))
            found = of_april(home)[1]
            (last,) = found.last
            assert last.acted == (last.named if state == "done" else 0)
            assert f"{last.acted} led to an action that is done" in found.last_summary
    finally:
        store.close()


def test_a_report_of_another_freeze_is_not_taken_for_last_month_s(home: Home) -> None:
    path = file_of(home, MONTH, FEEDBACK)
    before = path.read_bytes()
    try:
        path.write_bytes(before.replace(b'"freeze_id": "2026-03-', b'"freeze_id": "2026-03-x'))
        manifest, found = of_april(home)
        assert (manifest.reported, found.last) == ((), ())
        path.write_bytes(b"{")
        assert run(["report", "--month", APRIL, "--home", str(home.path)]) == 2
        path.unlink()
        assert of_april(home)[0].reported == ()
    finally:
        path.write_bytes(before)
