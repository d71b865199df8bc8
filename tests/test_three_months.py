"""Three simulated months in a row: what March's report asks is done in April, and May's report shows what it did.

The company's events go through the real door over a socket, on simulated time; log, tables, freezes, estimates,
reports and the command line are the product's own.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import reports
from edgeloop.app import api_keys
from edgeloop.app.cli import run
from edgeloop.app.door import create_app
from edgeloop.app.monthly import analyse_freeze
from edgeloop.app.process import process
from edgeloop.app.simulator.cast import NOW_HEADER
from edgeloop.app.simulator.timed_door import on_simulated_time
from edgeloop.clock import SimulatedClock, iso, to_us
from edgeloop.home import Home
from edgeloop.log.local import LocalLog
from edgeloop.settings import load
from edgeloop.store.freeze import Freeze
from reports.findings import Findings, FollowUp
from tests.test_door import listening

FIRST, LAST = datetime(2025, 12, 20, tzinfo=UTC), datetime(2026, 6, 3, tzinfo=UTC)
CANARY, EVERYBODY = datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 4, 20, tzinfo=UTC)
A_DAY = 60
"""Customers a day, each once."""
OLD, NEW, SHARE = 0.15, 0.55, 0.2
"""Who rebooks under which version, and the canary's share."""
SETTINGS = """
company = "Finch Parcels"
[roles.devops_lead]
name = "Ana Pires"
address = "ana@example.org"
deputy = "Tom Berg"
[metrics.slot_rebooked]
headline = true
role = "goal"
[metrics.latency_p95]
role = "off"
[metrics.over_budget]
role = "off"
[metrics.error_rate]
role = "off"
"""


def events() -> Iterator[tuple[datetime, dict[str, Any]]]:
    """(when it is sent, the event), until EVERYBODY by canary and from then on by the new version alone."""
    rng = np.random.default_rng(20260301)
    for number in range((LAST - FIRST).days * A_DAY):
        day, slot = divmod(number, A_DAY)
        at = FIRST + timedelta(days=day, hours=8, minutes=10 * slot)
        live = at >= CANARY
        new = live and (at >= EVERYBODY or rng.random() < SHARE)
        who = {"customer_id": f"C-{number}"}
        shown: dict[str, Any] = {
            "type": "exposure", "exposure_id": f"x-{number}", **who, "occurred_at": time_of(at),
            "touchpoint": "app_card", "model_id": "rebook", "model_version": "2.1" if new else "2.0",
        }  # fmt: skip
        if CANARY <= at < EVERYBODY:
            shown |= {"arm": "canary" if new else "stable", "rollout_id": "rebook-march"}
        yield at, shown
        if rng.random() < (NEW if new else OLD):
            then = at + timedelta(hours=2)
            yield then, {
                "type": "engagement", "event_id": f"e-{number}", **who, "occurred_at": time_of(then),
                "name": "slot_rebooked", "source": "app",
            }  # fmt: skip


def time_of(at: datetime) -> str:
    return iso(to_us(at))


DECLARED = {
    CANARY: {
        "type": "change", "change_id": "rebook-2.1", "occurred_at": time_of(CANARY), "model_id": "rebook",
        "from_version": "2.0", "to_version": "2.1", "kind": "canary", "rollout_id": "rebook-march", "unit": "subject",
        "assignment": "random", "allocation": {"2.0": 1 - SHARE, "2.1": SHARE}, "title": "One-tap rebooking",
        "planned_units": 1_500,
    },
    EVERYBODY: {
        "type": "change", "change_id": "rebook-2.1-all", "occurred_at": time_of(EVERYBODY), "model_id": "rebook",
        "from_version": "2.0", "to_version": "2.1", "kind": "switch", "rollout_id": "rebook-march",
        "title": "One-tap rebooking for everybody",
    },
}  # fmt: skip


class Company:
    """The home, its door, and what is still to be sent."""

    def __init__(self, home: Home, address: str, key: str) -> None:
        self.home, self._address, self._key = home, address, key
        self._days: dict[datetime, list[dict[str, Any]]] = defaultdict(list)
        for at, event in [*events(), *DECLARED.items()]:
            self._days[at.replace(hour=0, minute=0)].append(event)

    def live_until(self, end: datetime) -> None:
        """Send the days before ``end``, each at its end, and drain them."""
        with httpx.Client(base_url=self._address, timeout=30, trust_env=False) as client:
            for day in sorted(day for day in self._days if day < end):
                headers = {
                    "Authorization": f"Bearer {self._key}", NOW_HEADER: time_of(day + timedelta(hours=23, minutes=59)),
                }  # fmt: skip
                answer = client.post("/v1/events", json=self._days.pop(day), headers=headers)
                assert answer.status_code == 202, answer.text
                assert answer.json()["dead_letters"] == 0
        process(self.home, load(self.home.path, {}))

    def month(self, name: str) -> tuple[Findings, str]:
        """Freeze and report a month as a person does; its findings, and the page."""
        for command in (["freeze"], ["report"], ["report"]):  # a report made again asks nobody twice
            assert run([*command, "--month", name, "--home", str(self.home.path)]) == 0
        freeze = Freeze(self.home.freezes / name)
        again = None if freeze.manifest.printed_month is None else analyse_freeze(freeze, freeze.month.previous())
        findings = reports.build(freeze, analyse_freeze(freeze), again)
        page = (self.home.reports / f"{name}.html").read_text(encoding="utf-8")
        assert page == reports.render(findings), "the report comes from the freeze alone"
        return findings, page

    def actions(self, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
        """A command of actions, with its code and what it printed."""
        capsys.readouterr()
        code = run(["actions", *arguments, "--json", "--home", str(self.home.path)])
        return code, json.loads(capsys.readouterr().out or "null")


@pytest.fixture
def company(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Company]:
    monkeypatch.chdir(tmp_path)
    home = Home(tmp_path / "home")
    home.mark_simulated()
    (home.path / "edgeloop.toml").write_text(SETTINGS, encoding="utf-8")
    clock = SimulatedClock(to_us(FIRST))
    key = api_keys.create(home, "gateways", clock)
    settings = load(home.path, {})
    with closing(LocalLog(home.log, partitions=4, clock=clock)) as log:
        app = on_simulated_time(create_app(home, settings, log, clock), clock)
        with listening(app) as address:
            yield Company(home, address, key)


class Section(HTMLParser):
    """The words of one section of a page, and of each row of its table."""

    def __init__(self, page: str, name: str) -> None:
        super().__init__()
        self._name, self._inside = name, False
        self.rows: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "section":
            self._inside = dict(attrs).get("id") == self._name
        if self._inside and tag == "tr":
            self.rows.append("")

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.text += data
            if self.rows:
                self.rows[-1] += data


@dataclass
class Month:
    """A month's findings, its page, and the section of actions on it."""

    findings: Findings
    page: str

    @property
    def section(self) -> Section:
        return Section(self.page, "actions")

    def of(self, verdict: str) -> FollowUp:
        (found,) = [f for f in self.findings.followups if f.verdict == verdict]
        return found


@pytest.mark.slow
def test_asked_in_march_done_in_april_shown_in_may(company: Company, capsys: pytest.CaptureFixture[str]) -> None:
    # March: the canary did well, and its report asks to promote it.
    company.live_until(datetime(2026, 4, 3, tzinfo=UTC))
    march = Month(*company.month("2026-03"))
    assert march.findings.followups == ()
    assert "No report before this one asked for anything" in march.section.text
    (asked,) = march.findings.decisions
    assert (asked.verdict, asked.owner, asked.role) == ("promote", "Ana Pires", "DevOps lead; deputy: Tom Berg")
    assert asked.due == "2026-04-09"
    assert "ana@example.org" not in march.page

    code, actions = company.actions(capsys)
    (action,) = actions
    assert (code, action["state"], action["owner"], action["due"]) == (0, "proposed", "Ana Pires", "2026-04-09")
    assert action["asked"] == "Promote “One-tap rebooking” to everybody"
    company.live_until(datetime(2026, 4, 5, tzinfo=UTC))
    code, answered = company.actions(capsys, "accept", action["action_id"][:5], "--by", "ana")
    assert (code, answered[0]["state"]) == (0, "accepted")

    # April: on the 20th everybody gets it; that is eleven days after the date.
    company.live_until(datetime(2026, 4, 20, tzinfo=UTC))
    code, actions = company.actions(capsys)
    assert (code, actions[0]["late"]) == (3, True)
    company.live_until(datetime(2026, 5, 3, tzinfo=UTC))
    april = Month(*company.month("2026-04"))
    promoted = april.of("promote")
    assert (promoted.state, promoted.followed_by) == ("done", "rebook-2.1-all")
    assert promoted.became == "Accepted on 4 April 2026, not marked as done."
    assert promoted.followed == "Version 2.1 went to everybody on 20 April 2026."
    assert [d.verdict for d in april.findings.decisions if d.change_id == "rebook-2.1"] == []
    assert "1 action is followed up: 1 done, 0 late, 0 in time, 0 dropped." in april.section.text
    # The switch was seen, so the report marks the action as done itself: nobody is asked to.
    code, (closed,) = company.actions(capsys, "list", "--month", "2026-03")
    assert (code, closed["action_id"], closed["state"]) == (0, action["action_id"], "done")
    assert company.actions(capsys, "done", action["action_id"], "--by", "ana", "--reason", "In all regions.")[0] == 2

    # May: what it did is measured, and shown beside what was asked.
    company.live_until(LAST)
    may = Month(*company.month("2026-05"))
    shown = may.of("promote")
    assert (shown.state, shown.followed_by, shown.asked) == ("done", "rebook-2.1-all", "March 2026")
    assert shown.became == "Done on 2 May 2026: promoted on 20 April 2026"
    # What it did is what the random test showed; the switch itself has no estimate, and asks for none.
    (effect,) = [
        e for c in may.findings.changes if c.change_id == "rebook-2.1" for e in c.effects if e.metric == "slot_rebooked"
    ]
    assert (effect.direction, effect.certainty) == ("better", "clear")
    assert effect.low < NEW - OLD < effect.high
    assert [c.effects for c in may.findings.changes if c.change_id == "rebook-2.1-all"] == [()]
    size = f"{effect.difference} (range {effect.between})"
    assert shown.measured == (f"Promoted on 20 April 2026 after a random test: slot rebooked {size}.",)
    (row,) = [row for row in may.section.rows if "Promote" in row]
    for said in (shown.became, shown.followed, shown.measured[0], "✓ done", "Ana Pires", action["action_id"]):
        assert said in row

    # Nothing was asked twice, and every step is in the history with who took it.
    (history,) = company.actions(capsys, "list", "--month", "2026-03")[1]
    assert history["action_id"] == action["action_id"]
    frame = Freeze(company.home.freezes / "2026-05").frame("action_history")
    steps = frame[frame["action_id"] == action["action_id"]]
    assert list(zip(steps["state"], steps["who"], strict=True)) == [
        ("proposed", "report"),
        ("accepted", "ana"),
        ("done", "report"),
    ]
    assert company.actions(capsys, "accept", action["action_id"])[0] == 2


@pytest.mark.slow
def test_what_nobody_answers_is_late_and_a_look_asks_nobody(
    company: Company, capsys: pytest.CaptureFixture[str]
) -> None:
    company.live_until(datetime(2026, 3, 28, tzinfo=UTC))
    assert run(["report", "--month", "2026-03", "--home", str(company.home.path)]) == 0  # provisional
    assert company.actions(capsys) == (0, [])
    company.live_until(datetime(2026, 4, 3, tzinfo=UTC))
    company.month("2026-03")
    company.live_until(datetime(2026, 4, 20, tzinfo=UTC))
    assert run(["report", "--month", "2026-04", "--home", str(company.home.path)]) == 0
    page = (company.home.reports / "2026-04.html").read_text(encoding="utf-8")
    section = Section(page, "actions")
    assert "1 late" in section.text
    assert "Not answered." in section.text
    (action,) = company.actions(capsys)[1]
    code, _ = company.actions(capsys, "drop", action["action_id"], "--reason", "<b>Too</b> costly", "--by", "ana")
    assert code == 0
    assert run(["report", "--month", "2026-04", "--home", str(company.home.path)]) == 0
    page = (company.home.reports / "2026-04.html").read_text(encoding="utf-8")
    section = Section(page, "actions")
    assert "1 dropped" in section.text
    assert "Dropped on 19 April 2026: <b>Too</b> costly" in section.text
    assert "<b>" not in page
