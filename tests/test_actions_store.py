"""Actions, their history and notices in every store: asked once, answered by one, told once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from edgeloop.clock import SECOND_US
from edgeloop.errors import UsageError
from edgeloop.store.actions import (
    LEASE_US,
    NEXT,
    Action,
    Answer,
    IllegalStepError,
    NoSuchActionError,
    Notice,
    State,
    action_id,
    one_of,
)
from edgeloop.store.schema import ACTION_HISTORY, ACTIONS, NOTICES
from tests.stores import AT_US, STORES, Place, each_place

place = pytest.fixture(params=STORES)(each_place)


def action(number: int = 0, **fields: object) -> Action:
    made = Action(
        action_id=action_id("2026-03", f"c{number}", "promote"),
        month="2026-03", change_id=f"c{number}", model_id="eta", from_version="1", to_version="2", verdict="promote",
        title="Shorter <ETA> window",
        asked="Promote “Shorter <ETA> window” to everybody", why="It lifted conversion.", role="devops_lead",
        owner="Ana Pires", occurred_at=AT_US, due="2026-04-10",
    )  # fmt: skip
    return msgspec.structs.replace(made, **fields)


def answer(asked: Action, state: State, at_us: int = AT_US + 5, who: str = "ana", reason: str | None = None) -> Answer:
    return Answer(action_id=asked.action_id, occurred_at=at_us, state=state, who=who, reason=reason)


def kept(place: Place) -> list[Action]:
    rows = place.rows(f"SELECT {', '.join(ACTIONS.names)} FROM actions ORDER BY action_id")
    return [Action(**dict(zip(ACTIONS.names, row, strict=True))) for row in rows]


def history(place: Place) -> list[Answer]:
    rows = place.rows(f"SELECT {', '.join(ACTION_HISTORY.names)} FROM action_history ORDER BY occurred_at, state DESC")
    return [Answer(**dict(zip(ACTION_HISTORY.names, row, strict=True))) for row in rows]


def test_what_is_asked_again_is_not_asked_twice_and_not_reset(place: Place) -> None:
    store, other = place.store(), place.store()
    first, second = action(0), action(1)
    assert store.add_actions([first], "report") == [first]
    store.move_action(answer(first, "accepted"))
    assert other.add_actions([first, second], "report") == [second]
    assert {a.action_id: a.state for a in kept(place)} == {first.action_id: "accepted", second.action_id: "proposed"}
    assert [(h.state, h.who) for h in history(place) if h.action_id == first.action_id] == [
        ("proposed", "report"),
        ("accepted", "ana"),
    ]


def test_every_cell_comes_back(place: Place) -> None:
    asked = action(from_version=None, title="nul\0 and “quotes”" if place.kind == "sqlite" else "“quotes”")
    store = place.store()
    store.add_actions([asked], "report")
    assert kept(place) == [asked]
    done = store.move_action(answer(asked, "accepted", AT_US + 1))
    done = store.move_action(answer(asked, "done", AT_US + 2, "tom", "rolled out"))
    assert kept(place) == [done]
    assert (done.accepted_at, done.closed_at, done.reason) == (AT_US + 1, AT_US + 2, "rolled out")
    assert history(place)[1:] == [
        answer(asked, "accepted", AT_US + 1),
        answer(asked, "done", AT_US + 2, "tom", "rolled out"),
    ]


@pytest.mark.parametrize("before", list(NEXT))
def test_only_the_steps_of_the_table_are_taken(place: Place, before: State) -> None:
    """The table is the issue's: proposed → accepted → done, or dropped with a reason from either."""
    allowed = {("proposed", "accepted"), ("accepted", "done"), ("proposed", "dropped"), ("accepted", "dropped")}
    store = place.store()
    for number, after in enumerate(NEXT):
        asked = action(number)
        store.add_actions([asked], "report")
        for step in {"proposed": [], "accepted": ["accepted"], "done": ["accepted", "done"], "dropped": ["dropped"]}[
            before
        ]:
            store.move_action(answer(asked, step, reason="no"))  # type: ignore[arg-type]
        n = len(history(place))
        if (before, after) in allowed:
            assert store.move_action(answer(asked, after, reason="because")).state == after
            assert len(history(place)) == n + 1
        else:
            with pytest.raises(IllegalStepError, match=asked.action_id):
                store.move_action(answer(asked, after, reason="because"))
            assert len(history(place)) == n
            assert next(a for a in kept(place) if a.change_id == asked.change_id).state == before


def test_a_drop_says_why_and_an_unknown_action_is_named(place: Place) -> None:
    store, asked = place.store(), action()
    store.add_actions([asked], "report")
    for reason in (None, "", "  \n"):
        with pytest.raises(UsageError, match="say why"):
            store.move_action(answer(asked, "dropped", reason=reason))
    with pytest.raises(UsageError, match="1,001 letters"):
        store.move_action(answer(asked, "dropped", reason="x" * 1_001))
    with pytest.raises(NoSuchActionError, match="nowhere"):
        store.move_action(Answer(action_id="nowhere", occurred_at=1, state="accepted", who="ana"))
    assert kept(place) == [asked]


def test_of_many_who_answer_at_once_one_wins(place: Place) -> None:
    asked = action()
    place.store().add_actions([asked], "report")
    stores = [place.store() for _ in range(6)]
    gate = threading.Barrier(len(stores))

    def go(number: int) -> str:
        gate.wait()
        try:
            stores[number].move_action(answer(asked, "accepted", who=f"w{number}"))
        except IllegalStepError:
            return "late"
        return "won"

    with ThreadPoolExecutor(len(stores)) as pool:
        outcomes = list(pool.map(go, range(len(stores))))
    assert sorted(outcomes) == ["late"] * 5 + ["won"]
    assert sorted(h.state for h in history(place)) == ["accepted", "proposed"]


def test_two_reports_at_once_ask_once(place: Place) -> None:
    actions = [action(number) for number in range(20)]
    stores = [place.store() for _ in range(4)]
    with ThreadPoolExecutor(len(stores)) as pool:
        added = list(pool.map(lambda store: store.add_actions(actions, "report"), stores))
    assert sum(map(len, added)) == len(actions) == len(kept(place)) == len(history(place))


def notice(at_us: int = AT_US, state: str = "sending", **fields: object) -> Notice:
    made = Notice(
        action_id="a", cause="asked", rung="owner", channel="mail", state="sending", attempts=1, repeats=0,
        occurred_at=at_us,
    )  # fmt: skip
    return msgspec.structs.replace(made, state=state, **fields)


def test_one_notice_for_each_cause_rung_and_channel(place: Place) -> None:
    store, other = place.store(), place.store()
    assert store.begin_notice(notice())
    assert not other.begin_notice(notice(AT_US + SECOND_US))
    store.end_notice(notice(AT_US + 2, "sent"))
    assert not other.begin_notice(notice(AT_US + 10 * LEASE_US))
    for fields in ({"cause": "overdue"}, {"rung": "deputy"}, {"channel": "slack"}, {"action_id": "b"}):
        assert other.begin_notice(notice(**fields)), fields
    ((n,),) = place.rows("SELECT count(*) FROM notices")
    assert n == 5
    ((at_us, state),) = place.rows("SELECT occurred_at, state FROM notices WHERE state = 'sent'")
    assert (at_us, state) == (AT_US + 2, "sent")


def test_a_sender_that_died_is_repeated_once_and_never_more(place: Place) -> None:
    store = place.store()
    sent = [store.begin_notice(notice(AT_US + n * LEASE_US)) for n in range(5)]
    assert sent == [True, True, False, False, False]


def test_a_slow_sender_that_fails_does_not_take_back_what_another_sent(place: Place) -> None:
    slow, other = place.store(), place.store()
    assert slow.begin_notice(notice())
    assert other.begin_notice(notice(AT_US + LEASE_US))
    other.end_notice(notice(AT_US + LEASE_US + 1, "sent"))
    slow.end_notice(notice(AT_US + LEASE_US + 2, "waiting"))
    assert place.rows("SELECT occurred_at, state FROM notices") == [(AT_US + LEASE_US + 1, "sent")]
    assert not slow.begin_notice(notice(AT_US + 100 * LEASE_US))


def test_a_refused_one_is_tried_again_after_growing_pauses(place: Place) -> None:
    store = place.store()
    now, waits = AT_US, []
    assert store.begin_notice(notice(now))
    for _ in range(10):
        store.end_notice(notice(now, "waiting"))
        waited = 0
        while not store.begin_notice(notice(now + waited)):
            waited += 30 * SECOND_US
        now += waited
        waits.append(waited // SECOND_US)
    assert waits == [120, 240, 480, 960, 1920, 3840, 7680, 15360, 21600, 21600]
    ((attempts, repeats),) = place.rows("SELECT attempts, repeats FROM notices")
    assert (attempts, repeats) == (11, 0)


def test_of_many_senders_one_sends(place: Place) -> None:
    stores = [place.store() for _ in range(6)]
    with ThreadPoolExecutor(len(stores)) as pool:
        assert sorted(pool.map(lambda store: store.begin_notice(notice()), stores)) == [False] * 5 + [True]


def test_an_answer_does_not_wait_for_whoever_drains_a_long_batch(place: Place) -> None:
    """Beside the consumer: its transactions are short on SQLite, and hold other rows on PostgreSQL."""
    drainer, store, asked = place.store(), place.store(), action()
    store.add_actions([asked], "report")
    with drainer.claim([1, 2, 3]):
        store.move_action(answer(asked, "accepted"))
    assert kept(place)[0].state == "accepted"


def test_ids_are_the_same_for_the_same_decision_and_found_by_their_beginning() -> None:
    first = action_id("2026-03", "rebook-2.1", "promote")
    assert first == action_id("2026-03", "rebook-2.1", "promote")
    others = {
        action_id("2026-04", "rebook-2.1", "promote"),
        action_id("2026-03", "rebook-2.2", "promote"),
        action_id("2026-03", "rebook-2.1", "roll back"),
        action_id("2026-03", "rebook-2.1pro", "mote"),
    }
    assert first not in others
    assert len(others) == 4
    actions = [action(0, action_id="abc1"), action(1, action_id="abd2")]
    assert one_of(actions, "abc").action_id == "abc1"
    for wanted in ("ab", "x", ""):
        with pytest.raises(NoSuchActionError):
            one_of(actions, wanted)


def test_no_table_has_a_place_for_an_address() -> None:
    for table in (ACTIONS, ACTION_HISTORY, NOTICES):
        assert not [name for name in table.names if "address" in name or "mail" in name]
