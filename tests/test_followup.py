"""What became of an action: matched to the change that followed, told in words, and inert where people wrote it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

import reports
from analysis import Analysis, LedgerChange, Stage
from edgeloop.app.cli import run
from edgeloop.clock import DAY_US, to_us
from edgeloop.months import Month
from edgeloop.roles import DutySettings, Holder, Responsibility, responsibility
from edgeloop.store.actions import Action
from edgeloop.store.rows import Check
from reports.findings import FollowUp
from reports.followup import followups
from reports.owners import holder_text, owner_of
from reports.settled import Settled, Version, settled
from tests import report_fixture as fixture
from tests import small_company
from tests.test_actions_store import action

ASKED = to_us(datetime(2026, 4, 3, tzinfo=UTC))
UNTIL = to_us(datetime(2026, 5, 3, tzinfo=UTC))
MAY = Month.parse("2026-04", "UTC")
VERSION = Version("eta", "1", "2")


def change(kind: Any, to: str, start: float, **fields: Any) -> LedgerChange:
    """A change of the model that begins so many days after the action was asked."""
    stages = fields.pop("stages", None) or (Stage(1, ASKED + round(start * DAY_US), fields.pop("end", None)),)
    defaults: dict[str, Any] = {
        "change_id": f"{kind}-{to}-{start}", "model_id": "eta", "from_version": None, "declared": True,
        "last_us": UNTIL, "title": f"{kind} to {to}",
    }  # fmt: skip
    return LedgerChange(kind=kind, to_version=to, stages=stages, **(defaults | fields))


def stage(number: int, start: float, weights: dict[str, float] | None, end: float | None = None, **more: Any) -> Stage:
    ends = None if end is None else ASKED + round(end * DAY_US)
    return Stage(number, ASKED + round(start * DAY_US), ends, weights, **more)


# Which event settles a version: a table of its own, in the words of the contract.


@pytest.mark.parametrize(
    ("known", "what"),
    [
        ([change("switch", "2", 5)], "promoted"),
        ([change("switch", "2", 5, from_version="1", declared=False)], "promoted"),  # found in the exposures
        ([change("switch", "2", -5)], None),  # before it was asked
        ([change("switch", "2", 40)], None),  # after the report knows the world
        ([change("switch", "2", 5, model_id="rebook")], None),
        ([change("switch", "3", 5, from_version="2")], "ended"),  # on to a third version
        ([change("switch", "3", 5, from_version="1")], None),
        ([change("switch", "1", 5, from_version="2")], "rolled back"),
        ([change("rollback", "1", 5, from_version="2")], "rolled back"),
        ([change("rollback", "0", 5, from_version="2")], "rolled back"),
        ([change("rollback", "1", 5)], "rolled back"),  # nobody said from where
        ([change("rollback", "2", 5, from_version="3")], None),  # back to it: not its promotion
        ([change("canary", "2", -9, end=ASKED + DAY_US)], "ended"),
        ([change("canary", "2", -9)], None),
        ([change("canary", "2", -9, stages=(stage(1, -9, {"1": 0.5, "2": 0.5}, 4), stage(2, 4, {"2": 1.0})))],
         "promoted"),
        ([change("canary", "2", -9, stages=(stage(1, -9, {"1": 0.5, "2": 0.5}, 4), stage(2, 4, {"1": 0.2, "2": 0.8})))],
         None),
        ([change("canary", "2", -9, stages=(stage(1, -9, {"2": 0.5, "1": 0.5}, 4),
                                            stage(2, 4, {"2": 0.95, "holdout": 0.05})))], None),
        ([change("staged", "2", -9, stages=(stage(1, -9, {"1": 1}, 4), stage(2, 4, {"2": 1}, zones=("north",))))],
         None),
        ([change("canary", "2", -9, stages=(stage(1, -9, {"1": 0.5, "2": 0.5}, 4), stage(2, 4, {"1": 1.0, "2": 0.0})))],
         "rolled back"),
        ([change("canary", "2", -9, end=ASKED + 5 * DAY_US), change("switch", "2", 5)], "promoted"),  # at one moment
        ([change("switch", "2", 5), change("rollback", "1", 9, from_version="2")], "promoted"),  # the first counts
        ([], None),
    ],
)  # fmt: skip
def test_which_change_settles_a_version(known: list[LedgerChange], what: str | None) -> None:
    found = settled(VERSION, known, ASKED, UNTIL)
    assert (None if found is None else found.what) == what


def frame(*actions: Action) -> pd.DataFrame:
    rows = [msgspec.to_builtins(a) for a in actions]
    made = pd.DataFrame(rows, columns=list(Action.__struct_fields__))
    for name in ("accepted_at", "closed_at"):
        made[name] = made[name].astype("float64")  # as a column with holes comes out of Parquet
    return made


def told(asked: Action, *known: LedgerChange, checks: tuple[Check, ...] = ()) -> FollowUp | None:
    analysis = Analysis(list(known), [], list(checks), known=list(known))
    found = followups(frame(asked), analysis, [], MAY, UNTIL)
    return found[0] if found else None


def asked(verdict: Any = "promote", state: Any = "accepted", **fields: Any) -> Action:
    times = {"accepted_at": ASKED + DAY_US} if state in ("accepted", "done") else {}
    times |= {"closed_at": ASKED + 2 * DAY_US} if state in ("done", "dropped") else {}
    defaults: dict[str, Any] = {"occurred_at": ASKED, "due": "2026-04-10", "verdict": verdict, "state": state}
    return action(0, **(defaults | times | fields))


BACK = change("rollback", "1", 5, from_version="2")
ALL = change("switch", "2", 5)
RUNNING = change("canary", "2", -9, change_id="c0")


@pytest.mark.parametrize(
    ("action_", "known", "state", "became", "followed"),
    [
        (asked(), (ALL,), "done", "Accepted on 4 April 2026, not marked as done.",
         "Version 2 went to everybody on 8 April 2026."),
        (asked(), (), "late", "Accepted on 4 April 2026, not marked as done.", ""),
        (asked(due="2026-05-03"), (), "accepted", "Accepted on 4 April 2026, not marked as done.", ""),
        (asked(state="proposed"), (), "late", "Not answered.", ""),
        (asked(state="proposed", due="2026-05-03"), (), "waiting", "Not answered.", ""),
        (asked(state="done"), (), "done", "Done on 5 April 2026.", "No such change is seen in the data yet."),
        (asked(state="done", reason="everywhere"), (ALL,), "done", "Done on 5 April 2026: everywhere",
         "Version 2 went to everybody on 8 April 2026."),
        (asked(state="dropped", reason="too dear"), (), "dropped", "Dropped on 5 April 2026: too dear", ""),
        (asked(), (BACK,), "late", "Accepted on 4 April 2026, not marked as done.",
         "Version 2 was rolled back on 8 April 2026. That is not what was asked."),
        (asked("roll back"), (BACK,), "done", "Accepted on 4 April 2026, not marked as done.",
         "Version 2 was rolled back on 8 April 2026."),
        (asked("roll back"), (ALL,), "late", "Accepted on 4 April 2026, not marked as done.",
         "Version 2 went to everybody on 8 April 2026. That is not what was asked."),
        (asked("stop, no effect"), (change("canary", "2", -9, end=ASKED + 5 * DAY_US),), "done",
         "Accepted on 4 April 2026, not marked as done.", "The rollout of version 2 ended on 8 April 2026."),
        (asked("keep testing"), (RUNNING,), "late", "Accepted on 4 April 2026, not marked as done.",
         "The test is still running."),
        (asked("keep testing", "done"), (ALL, RUNNING), "done", "Done on 5 April 2026.",
         "Version 2 went to everybody on 8 April 2026."),
        (asked("keep testing", "done"), (), "done", "Done on 5 April 2026.",
         "The data shows nothing of it any more."),
    ],
)  # fmt: skip
def test_what_became_of_it(
    action_: Action, known: tuple[LedgerChange, ...], state: str, became: str, followed: str
) -> None:
    found = told(action_, *known)
    assert found is not None
    assert (found.state, found.became, found.followed) == (state, became, followed)


def test_whether_data_was_repaired_is_in_this_months_checks() -> None:
    repair = asked("repair the data first", "done")

    def check(state: Any) -> Check:
        return Check(freeze_id="f", month="2026-04", change_id="c0", check="srm", state=state)

    for checks, said in (
        ((), "no checks of its data"),
        ((check("ok"), check("warn")), "passes the checks now"),
        ((check("ok"), check("block")), "1 check of its data still fails"),
        ((check("block"), check("block")), "2 checks of its data still fail"),
    ):
        found = told(repair, RUNNING, checks=checks)
        assert found is not None
        assert said in found.followed


def test_which_actions_are_followed_up() -> None:
    """Last month's, and older ones that are open or still measured; never those of this month's own report."""
    assert told(asked(month="2026-04")) is None
    assert told(asked(state="done", month="2026-01"), ALL) is None  # nothing measures its change any more
    assert told(asked(state="proposed", month="2026-01")) is not None
    assert told(asked(state="done", month="2026-03")) is not None
    assert followups(None, Analysis([], [], []), [], MAY, UNTIL) == []
    several = frame(
        asked(state="dropped", reason="x", action_id="a"), asked(action_id="b"), asked(state="done", action_id="c")
    )
    order = [f.action_id for f in followups(several, Analysis([], [], []), [], MAY, UNTIL)]
    assert order == ["b", "c", "a"]


def test_the_matched_change_is_named() -> None:
    found = told(asked(), ALL)
    assert found is not None
    assert found.followed_by == ALL.change_id
    assert isinstance(settled(VERSION, [ALL], ASKED, UNTIL), Settled)


# Who answers.


def test_whose_name_stands_on_a_decision() -> None:
    table = Responsibility(
        holders={"devops_lead": Holder("Ana Pires", "Tom Berg"), "it_lead": Holder("Bo Lind")},
        duties={"promote": DutySettings(accountable="devops_lead")},
    )
    for verdict, named, table_, wanted in (
        ("promote", None, table, ("devops_lead", "Ana Pires", "DevOps lead; deputy: Tom Berg")),
        ("promote", None, Responsibility(), ("devops_lead", "DevOps lead", "nobody is named for this role yet")),
        ("promote", "Jana Ortiz", table, ("devops_lead", "Jana Ortiz", "owner of the change")),
        ("promote", "IT lead", table, ("it_lead", "Bo Lind", "IT lead")),
        ("promote", "bo lind", table, ("it_lead", "Bo Lind", "IT lead")),
        ("repair the data first", "crm_manager", table,
         ("crm_manager", "CRM manager", "nobody is named for this role yet")),
        ("roll back", None, responsibility({}, {"roll_back": DutySettings(accountable="it_lead")}),
         ("it_lead", "IT lead", "nobody is named for this role yet")),
    ):  # fmt: skip
        owner = owner_of(verdict, named, table_)  # type: ignore[arg-type]
        assert (owner.role, owner.name, owner.line) == wanted


def test_whose_name_stands_on_a_theme() -> None:
    table = Responsibility(holders={"it_lead": Holder("Bo Lind")})
    wanted = {"IT lead": "Bo Lind, IT lead", "CRM manager": "CRM manager", "operations lead": "Operations lead"}
    assert {named: holder_text(named, table) for named in wanted} == wanted
    assert holder_text("the night shift", table) == "the night shift"


# On the page.


def page(tmp_path: Path, *actions: Action) -> str:
    freeze = fixture.write(tmp_path / "freeze", fixture.frames())
    data = frame(*actions)
    freeze.frames = lambda *_a: {  # type: ignore[method-assign]
        **type(freeze).frames(freeze), "actions": data,
    }  # fmt: skip
    return reports.render(reports.build(freeze, fixture.analysed(freeze)))


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.tags += [f"on: {name}" for name, _ in attrs if name.startswith("on")]


def test_what_people_wrote_is_inert_and_bounded(tmp_path: Path) -> None:
    hostile = fixture.HOSTILE + "\u202e" + "x" * 5_000
    known = {"model_id": "rebook-prompt", "from_version": "2.0", "to_version": "2.1", "month": "2026-02"}
    shown = page(tmp_path, asked(state="dropped", title=hostile, owner=hostile, reason=hostile, **known))
    parsed = Tags(shown)
    assert not {"script", "img"} & set(parsed.tags)
    assert not [tag for tag in parsed.tags if tag.startswith("on: ")]
    assert parsed.tags.count("h1") == 1
    assert "\u202e" not in shown
    assert "x" * 301 not in shown
    assert len(shown) < 300_000
    assert "1 dropped" in shown


# The command line, on a small company's home.


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = small_company.make_frozen(tmp_path_factory.mktemp("actions") / "home")
    assert run(["report", "--month", small_company.MONTH, "--home", str(made)]) == 0
    return made


def test_a_final_report_asks_and_the_command_lists_and_answers(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def told(*arguments: str) -> tuple[int, str, str]:
        code = run(["actions", *arguments, "--home", str(home)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    capsys.readouterr()
    code, out, _ = told("--json")
    found = json.loads(out)
    assert [(a["change_id"], a["month"], a["state"]) for a in found] == [("rebook-2.1", "2026-03", "proposed")]
    (one,) = found
    assert code == (3 if one["late"] else 0)
    wanted = one["action_id"]
    _, out, err = told()
    assert out.splitlines()[0].split("\t") == ["id", "month", "asked", "owner", "by", "state", "reason"]
    assert wanted in out
    assert "1 of 1 actions are open" in err
    assert told("list", "--state", "done", "--json")[1].strip() == "[]"
    assert told("list", "--month", "2026-02", "--json")[1].strip() == "[]"
    assert told("list", "--month", "March")[0] == 2
    assert told("list", "--state", "nowhere")[0] == 2
    code, _, err = told("done", wanted)
    assert (code, "accept it first" in err) == (2, True)
    assert told("accept", "0" * 9)[0] == 2
    assert told("accept", wanted)[0] == 0
    code, _, err = told("accept", wanted)
    assert (code, "is accepted already" in err) == (2, True)
    assert told("drop", wanted)[0] == 2
    assert told("drop", wanted, "--reason", " ")[0] == 2
    code, out, err = told("drop", wanted, "--reason", "no capacity", "--by", "ana")
    assert (code, out) == (0, f"{wanted}\n")
    assert err.startswith("dropped: ")
    assert run(["report", "--month", small_company.MONTH, "--home", str(home)]) == 0  # asks nobody anew
    capsys.readouterr()
    again = json.loads(told("--json")[1])
    assert [(a["state"], a["reason"]) for a in again] == [("dropped", "no capacity")]


def test_a_home_without_tables_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["actions", "--home", str(tmp_path / "none")]) == 1
    (tmp_path / "new").mkdir()
    assert run(["actions", "--home", str(tmp_path / "new")]) == 1
    assert "edgeloop process" in capsys.readouterr().err
    assert not (tmp_path / "new" / "store.sqlite").exists()


def test_times_with_holes_are_read_as_they_were() -> None:
    data = frame(asked(state="done", closed_at=None), asked(state="proposed"))
    assert np.isnan(data["closed_at"]).all()
    assert told(asked(state="proposed")) is not None
