"""Hypothesis strategies for small worlds and for what happens to them, so that a failure shrinks to a few events.

Few names, few ids and times at the edges: what is rare in traffic (ties, one id under two customers, a window met to
the µs) is common here. Bodies are as the log holds them, as in `tests/worlds.py`. The first choice of each list is the
plainest, because Hypothesis shrinks towards it.
"""

from __future__ import annotations

import copy
from typing import Any, get_args

import msgspec
from hypothesis import strategies as st

from edgeloop.events import DEAD_LETTERS_TOPIC, STORED_TOPICS
from edgeloop.settings import AttributionSettings, CreditRule
from tests.pipeline import Body, entry
from tests.worlds import ANSWER_WINDOW, DAY, DELIVERY_WINDOW, ENGAGEMENT_WINDOW, HOUR, IDS, KEYS, SECOND, micros, stamp

NOON = micros("2026-01-15T00:00:00Z")
"""When most outcomes happen: also the edge of a day, and of a bucket of 28 days since 1970."""
SUBJECTS = ("ann", "ann", "ann", "bob")
COURIERS = ("kim", "kim", "kim", "kim", "lou", "ann")
"""One pseudonym is a customer's too: doors never make such, the meaning covers it."""
MODELS = ("eta", "eta", "eta", "Änderung")
EVENT_IDS = ("x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "X1", "😀", "ﬁ")
"""Shared by all types; by UTF-16 the last two would sort the other way round."""
DELIVERIES = ("d1", "d1", "d2")
SOURCES = ("app", "typeform")
CORRECTIONS = (31 * SECOND, -31 * SECOND, HOUR, -HOUR, 3 * DAY)
RULES: tuple[CreditRule, ...] = get_args(CreditRule)

_BEFORE = (
    HOUR, 1, 0, -1, 1, HOUR, 2 * HOUR, 3 * HOUR, DAY, HOUR - 1, HOUR + 1, -SECOND, -SECOND - 1,
    ENGAGEMENT_WINDOW, ENGAGEMENT_WINDOW - 1, ENGAGEMENT_WINDOW + 1, 7 * DAY, 7 * DAY + 1,
    ANSWER_WINDOW, ANSWER_WINDOW - 1, ANSWER_WINDOW + 1, 40 * DAY, DELIVERY_WINDOW, DELIVERY_WINDOW + 1,
    400 * DAY, NOON, NOON + 1,
)  # fmt: skip
"""How long before the outcomes exposures happen, µs; the last two at 1970 and just before it."""
_AFTER = (0, 0, 0, 1, -1, SECOND, DAY, -30 * DAY)
"""When outcomes happen, µs after `NOON`."""
_SCALES: tuple[Body, ...] = (
    {"kind": "nps", "value": 9.0, "low": 0.0, "high": 10.0},
    {"kind": "rating"},
    {"kind": "boolean", "value": 1.0, "label": "ja"},
    {"kind": "choice", "label": "abends", "value": 3.0},
    {"kind": "text", "text": "zu spät", "value": 1.0},
)
_EXTRAS: tuple[Body, ...] = ({"a": 1}, {"ä": {"z": [1.5, None], "b": "\n"}, "A": True})


def settings() -> st.SearchStrategy[AttributionSettings]:
    """Rules whose windows the times meet to the µs, and touches few enough that the cap bites."""
    return st.builds(
        AttributionSettings,
        credit_rule=st.sampled_from(RULES),
        max_touches=st.sampled_from((50, 3, 2)),
        engagement_window_h=st.sampled_from((72.0, 1.0)),
        answer_window_days=st.sampled_from((14.0, 7.0)),
        delivery_window_days=st.sampled_from((120.0, 40.0, 0.0)),
        whole_second_sources=st.sampled_from((("typeform", "mixpanel"), ("app",), ())),
    )


def _event(
    kind: str, times: tuple[int, ...], key: st.SearchStrategy[str], required: Body, optional: Body
) -> st.SearchStrategy[Body]:
    common = {
        "revision": st.sampled_from((1, 2, -1)),
        "extra": st.sampled_from(_EXTRAS),
        "_correction": st.sampled_from(CORRECTIONS),
        "anonymous": st.just(True),
    }
    if KEYS[kind] != "subject":
        del common["anonymous"]
    need = {IDS[kind]: st.sampled_from(EVENT_IDS), KEYS[kind]: key, "_at": st.sampled_from(times), **required}
    rare = {name: _seldom(strategy) for name, strategy in common.items()}
    return _finished(kind, st.fixed_dictionaries(need, optional=optional | rare))


@st.composite
def _finished(draw: st.DrawFn, kind: str, fields: st.SearchStrategy[Body]) -> Body:
    return _body(kind, draw(fields))  # not `map`, so that Hypothesis prints the body itself


def _seldom(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """None three times in four, which `_body` takes for absence: half of all events with a revision would be dull."""
    return st.sampled_from((False, False, False, True)).flatmap(lambda present: strategy if present else st.none())


def _body(kind: str, drawn: Body) -> Body:
    """Log form: defaults absent, a corrected clock as the door leaves it."""
    body: Body = {"type": kind} | {k: v for k, v in drawn.items() if v is not None and not k.startswith("_")}
    raw, correction = drawn["_at"], drawn.get("_correction") or 0
    body["occurred_at"] = stamp(raw + correction)
    if correction:
        body["occurred_at_raw"] = stamp(raw)
    return body


def exposures() -> st.SearchStrategy[Body]:
    """Exposures at and around the edges of the windows before `NOON`, in every arm, carried or not."""
    return _event(
        "exposure",
        tuple(NOON - before for before in _BEFORE),
        st.sampled_from(SUBJECTS),
        {
            "touchpoint": st.just("card"),
            "model_id": st.sampled_from(MODELS),
            "model_version": st.sampled_from(("v1", "v2")),
            "courier": st.sampled_from((None, *COURIERS)),
        },
        {
            "arm": st.sampled_from(("stable", "canary", "stable", "canary", "holdout")),
            "delivery_id": st.sampled_from(DELIVERIES),
            "rollout_id": st.just("r1"),
            "error": _seldom(st.sampled_from(("timeout", ""))),
            "fallback": _seldom(st.booleans()),
            "latency_ms": _seldom(st.just(480.5)),
        },
    )


_LINKS = {
    "delivery_id": st.sampled_from(DELIVERIES),
    "exposure_id": st.sampled_from((*EVENT_IDS, "no such exposure")),
}
_ANSWER = st.builds(lambda q, scale: {"question": q, **scale}, st.sampled_from(("q", "ä/1")), st.sampled_from(_SCALES))


def _responses(respondent: str, people: tuple[str, ...]) -> st.SearchStrategy[Body]:
    return _event(
        "response",
        tuple(NOON + after for after in _AFTER),
        st.sampled_from(people),
        {
            "respondent": st.just(respondent),
            "survey_id": st.just("pulse"),
            "source": st.sampled_from(SOURCES),
            "answers": st.lists(_ANSWER, min_size=1, max_size=3) | st.just([]),
        },
        {**_LINKS, "partial": _seldom(st.just(True)), "language": _seldom(st.just("de"))},
    )


def responses() -> st.SearchStrategy[Body]:
    """Customers' and agents' answers, partial and final, some with links to others' exposures."""
    return _responses("customer", SUBJECTS) | _responses("agent", COURIERS)


def engagements() -> st.SearchStrategy[Body]:
    """What customers did."""
    return _event(
        "engagement",
        tuple(NOON + after for after in _AFTER),
        st.sampled_from(SUBJECTS),
        {"name": st.just("tip"), "source": st.sampled_from(SOURCES)},
        {**_LINKS, "value": st.sampled_from((2.5, 0.0, -3.5)), "currency": st.just("EUR")},
    )


def _others() -> dict[str, st.SearchStrategy[Body]]:
    at = (NOON, NOON + 1)
    profile = _event(
        "profile", at, st.sampled_from(SUBJECTS),
        {"side": st.sampled_from(("cloud", "edge")), "profile_version": st.sampled_from(("p1", "p2"))},
        {"fields": _seldom(st.just({"tier": "gold"}))},
    )  # fmt: skip
    telemetry = _event(
        "telemetry", at, st.sampled_from(("hub-1", "ann")),
        {"kind": st.sampled_from(("device", "message"))}, {"message_sent_at": st.just(stamp(NOON - SECOND))},
    )  # fmt: skip
    change = _event(
        "change", at, st.sampled_from((*MODELS, "ann")),
        {"to_version": st.just("v2"), "kind": st.sampled_from(("canary", "switch"))},
        {"allocation": st.just({"v2": 0.5, "v1": 0.5}), "unit": st.just("zone"), "zones": st.just(["z1"])},
    )  # fmt: skip
    return {"profile": profile, "telemetry": telemetry, "change": change}


_KINDS = (*["exposure"] * 7, *["response"] * 3, *["engagement"] * 2, "profile", "telemetry", "change")


def events() -> st.SearchStrategy[Body]:
    """Events of every type, mostly those that attribution is made of."""
    by_kind = {"exposure": exposures(), "response": responses(), "engagement": engagements()} | _others()
    # Not `one_of`, which looks at each of its strategies once, however often it is given.
    return st.sampled_from(_KINDS).flatmap(by_kind.__getitem__)


def _some(most: int, *, least: int = 0) -> st.SearchStrategy[list[Body]]:
    """Few events or many: Hypothesis' own lists are mostly so short that nothing in them meets."""
    few, many = st.lists(events(), min_size=least, max_size=4), st.lists(events(), min_size=most // 2, max_size=most)
    return few | many


AGAIN = ("same", "later", "corrected", "reordered", "revised", "unfinished", "moved", "retimed", "far late")


def again(body: Body, how: str) -> Body:
    """An event once more: the same words delivered otherwise (the first four), or another body of its id."""
    body = copy.deepcopy(body)
    if how == "later":
        body["received_at"] = stamp(NOON + 90 * DAY)
    elif how == "corrected":
        raw = body.pop("occurred_at_raw", body["occurred_at"])
        at = micros(raw) + (31 * SECOND if body["occurred_at"] == raw else 0)
        body |= {"occurred_at": stamp(at)} | ({"occurred_at_raw": raw} if stamp(at) != raw else {})
    elif how == "reordered":
        return dict(reversed(body.items()))
    elif how == "revised":
        body["revision"] = body.get("revision", 0) + 1 or 1
    elif how == "unfinished" and body["type"] == "response":
        if not body.pop("partial", False):
            body["partial"] = True
    elif how == "moved":
        key = KEYS[body["type"]]
        body[key] = "bob" if body[key] != "bob" else "ann"
    elif how in ("retimed", "far late"):
        body.pop("occurred_at_raw", None)
        body["occurred_at"] = stamp(micros(body["occurred_at"]) - (HOUR if how == "retimed" else 400 * DAY))
    return body


class Append(msgspec.Struct, frozen=True):
    """Events arrive."""

    bodies: list[Body]


class Again(msgspec.Struct, frozen=True):
    """An event that was appended (counted from the latest, modulo how many there were) arrives once more."""

    nth: int
    how: str


class Drained(msgspec.Struct, frozen=True):
    """The log is drained by batches of so many records (None: as before); ``meanwhile`` arrives after the first."""

    max_records: int | None
    meanwhile: list[Body] = []


class Aborted(msgspec.Struct, frozen=True):
    """ABORT (ABORT_BEFORE with ``before``): of a drain, ``spared`` transactions commit, the next one breaks off after
    its writes and before its commit (or before its writes). ``reopen``: everything starts again, else it goes on."""

    max_records: int | None
    spared: int
    before: bool
    reopen: bool


class Reopened(msgspec.Struct, frozen=True):
    """Everything is closed and opened again."""


class Undecodable(msgspec.Struct, frozen=True):
    """A record that no event can be read from."""

    topic: str
    key: str
    raw: bytes


Step = Append | Again | Drained | Aborted | Reopened | Undecodable

_HEAD = b'{"type":"engagement","event_id":"x1","subject":"ann","occurred_at":"2026-01-15T00:00:00Z","source":"app"'
DAMAGED = (
    b"",
    b"null",
    _HEAD,
    _HEAD + b"}",
    _HEAD + b',"name":"tip","value":1e400}',
    _HEAD + b',"name":"tip","revision":9007199254740993}',
    _HEAD + b',"name":"\\ud800"}',
    _HEAD + b',"name":"tip\xff"}',
    _HEAD + b',"name":"tip","extra":' + b'{"a":' * 3_000 + b"1" + b"}" * 3_001,
    _HEAD + b',"name":""}',
    b'{"type":"refund","refund_id":"x1","subject":"ann","occurred_at":"2026-01-15T00:00:00Z"}',
)
"""Cut off, out of range, not UTF-8, too deep, of no known type. A door would refuse each; a team that produces to the
log itself may not."""


def undecodable() -> st.SearchStrategy[Undecodable]:
    """Garbage, damaged events, and events in the topic of another type."""
    keys = st.sampled_from(("ann", "bob"))
    topics = st.sampled_from(STORED_TOPICS)
    garbage = st.builds(Undecodable, topics, keys, st.sampled_from(DAMAGED) | st.binary(max_size=20))
    misplaced = st.builds(_misplaced, events(), st.integers(1, len(STORED_TOPICS) - 1))
    return garbage | misplaced


def _misplaced(body: Body, by: int) -> Undecodable:
    right = entry(body)
    assert right.topic != DEAD_LETTERS_TOPIC
    topic = STORED_TOPICS[(STORED_TOPICS.index(right.topic) + by) % len(STORED_TOPICS)]
    return Undecodable(topic, right.key, right.value)


_BATCH = st.sampled_from((None, None, 1, 2, 3, 7, 20_000))
_EXTRA = st.one_of(
    st.builds(Again, st.integers(0, 20), st.sampled_from(AGAIN)),
    st.builds(Again, st.integers(0, 20), st.sampled_from(AGAIN)),
    undecodable(),
    st.builds(Reopened),
)
_WORK = st.one_of(
    st.builds(Drained, _BATCH, st.just([]) | st.lists(events(), max_size=3)),
    st.builds(Aborted, _BATCH, st.integers(0, 3), st.booleans(), st.booleans()),
)


@st.composite
def steps(draw: st.DrawFn) -> list[Step]:
    """What happens to a home, in order: in each of a few rounds something arrives, and some of it is worked off."""
    happens: list[Step] = []
    for _ in range(draw(st.integers(1, 5))):
        happens += [Append(draw(_some(16))), *draw(st.lists(_EXTRA, max_size=4)), *draw(st.lists(_WORK, max_size=2))]
    return happens


def batches() -> st.SearchStrategy[tuple[list[int], int]]:
    """Sizes of appends (a drain after each), and the most records a batch takes."""
    return st.tuples(st.lists(st.integers(1, 8), max_size=6), st.sampled_from((20_000, 1, 2, 5)))


@st.composite
def in_two_orders(draw: st.DrawFn) -> tuple[list[Body], list[Body]]:
    """The same events, some delivered twice, in two orders."""
    bodies = draw(_some(24, least=1))
    for nth, how in draw(st.lists(st.tuples(st.integers(0, 20), st.sampled_from(AGAIN)), max_size=6)):
        bodies.append(again(bodies[nth % len(bodies)], how))
    return bodies, draw(st.permutations(bodies))
