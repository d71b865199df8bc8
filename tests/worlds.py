"""Random worlds of log-form events that crowd the edges of what attribution means: ties, windows met to the µs,
ids used twice, clocks corrected twice, links to nowhere.

A world is a function of its random generator. Bodies are as the log holds them: defaults absent, numbers of the
contract's float fields written as floats, times as msgspec renders them.
"""

import copy
import random
from datetime import UTC, datetime, timedelta
from typing import Any

Body = dict[str, Any]

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
ENGAGEMENT_WINDOW = 72 * HOUR
ANSWER_WINDOW = 14 * DAY
DELIVERY_WINDOW = 120 * DAY
CREDIT_RULES = ("last_touch", "first_touch", "linear", "time_decay", "position_based")
WHOLE_SECOND_SOURCES = ("typeform", "mixpanel")
SOURCES = (*WHOLE_SECOND_SOURCES, "zigpoll", "app")
KEYS = {"exposure": "subject", "response": "subject", "engagement": "subject", "profile": "subject",
        "telemetry": "site", "change": "model_id"}  # fmt: skip
IDS = {"exposure": "exposure_id", "response": "response_id", "engagement": "event_id", "profile": "profile_id",
       "telemetry": "telemetry_id", "change": "change_id"}  # fmt: skip

_BEFORE = (
    -HOUR, -SECOND - 1, -SECOND, -SECOND + 1, -1, 0, 0, 1, SECOND, MINUTE, HOUR - 1, HOUR, HOUR + 1, 2 * HOUR, DAY,
    ENGAGEMENT_WINDOW - 1, ENGAGEMENT_WINDOW, ENGAGEMENT_WINDOW + 1, 7 * DAY, 7 * DAY,
    ANSWER_WINDOW - 1, ANSWER_WINDOW, ANSWER_WINDOW + 1, 20 * DAY,
    DELIVERY_WINDOW - 1, DELIVERY_WINDOW, DELIVERY_WINDOW, DELIVERY_WINDOW + 1,
)  # fmt: skip
"""How long before an anchor exposures happen, µs; outcomes happen at the anchors or within a second of them."""
_CORRECTIONS = (0, 31 * SECOND, -31 * SECOND, MINUTE, -MINUTE, HOUR, -HOUR, HOUR + 1, 3 * DAY, -3 * DAY)
_QUESTIONS = ("nps", "Wie war's?", "pünktlich / sauber", "a#2", "50 % früher?", "a")
_EXTRAS: tuple[Body, ...] = (
    {"b": [1, {"z": 1.5, "ä": None}], "a": "x/y"},
    {"a": 'quote " and \\ and \n', "Z": True},
    {"größe": {"y": 2, "x": {}}, "\u2028": "😀"},
    {"n": 9_007_199_254_740_993},
)


def stamp(us: int) -> str:
    """µs since the epoch as msgspec renders it: ``2026-01-01T00:00:00Z``, six digits of fraction if there is one."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)).isoformat().replace("+00:00", "Z")


def micros(text: str) -> int:
    """The inverse of `stamp`."""
    return (datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


_ANCHORS = [
    micros(f"2026-{text}Z")
    for text in (
        "01-15T12:00:00", "01-31T23:59:59.999999", "02-01T00:00:00", "02-01T00:00:00.500000", "02-15T12:00:00",
        "03-29T01:00:00",
    )
]  # fmt: skip
_LONG_AGO = [
    micros(f"{text}Z")
    for text in ("1969-12-31T23:59:59.999999", "1970-01-01T00:00:00", "2000-02-29T12:00:00", "2025-01-01T00:00:00")
]
_NOW = micros("2026-06-01T00:00:00Z")


def random_rules(rng: random.Random) -> Body:
    """Rules whose windows the worlds' times meet to the µs, and few enough touches that the cap bites."""
    return {
        "engagement_window_us": rng.choice((ENGAGEMENT_WINDOW, ENGAGEMENT_WINDOW, HOUR)),
        "answer_window_us": rng.choice((ANSWER_WINDOW, ANSWER_WINDOW, 7 * DAY)),
        "delivery_window_us": rng.choice((DELIVERY_WINDOW, DELIVERY_WINDOW, 20 * DAY, 0)),
        "credit_rule": rng.choice(CREDIT_RULES),
        "max_touches": rng.choice((50, 50, 1, 2, 3)),
        "whole_second_sources": rng.choice((list(WHOLE_SECOND_SOURCES), ["app"], [])),
    }


def world(rng: random.Random, size: int, *, mixed_keys: bool = False) -> list[Body]:
    """``size`` bodies in no order.

    With ``mixed_keys`` one pseudonym may be a customer's and an agent's at once, and a response's respondent may differ
    between its versions. Doors never make such pseudonyms; the meaning covers them all the same.
    """
    return _World(rng, size, mixed_keys).grow(size)


def shuffled_with_duplicates(rng: random.Random, bodies: list[Body], share: float) -> list[Body]:
    """The bodies in another order, ``share`` of them delivered again: as they are, or with a later stamp."""
    again = [copy.deepcopy(body) for body in rng.choices(bodies, k=round(share * len(bodies)))] if bodies else []
    for body in again:
        if rng.random() < 0.5:
            body["received_at"] = stamp(micros(body["received_at"]) + rng.randrange(1, DAY))
    everything = [*bodies, *again]
    rng.shuffle(everything)
    return everything


class _World:
    def __init__(self, rng: random.Random, size: int, mixed_keys: bool) -> None:
        self.rng = rng
        self.mixed_keys = mixed_keys
        self.subjects = [f"customer-{i}" for i in range(max(2, min(6, size // 30)))]
        self.couriers = [f"courier-{i}" for i in range(2)]
        if mixed_keys:
            self.couriers.append(self.subjects[0])
        self.models = ["eta", "slot", "Ätherpreis"][: rng.choice((1, 2, 2, 3))]
        self.deliveries = ["d1", "d2", "d/3 ü"]
        self.anchors = rng.sample(_ANCHORS, k=2)
        self.bodies: list[Body] = []
        self.ids = 0

    def grow(self, size: int) -> list[Body]:
        makers = {self.exposure: 45, self.response: 20, self.engagement: 20, self.profile: 4, self.telemetry: 4,
                  self.change: 5}  # fmt: skip
        while len(self.bodies) < size:
            if self.bodies and self.rng.random() < 0.35:
                body = self.again(self.rng.choice(self.bodies))
            else:
                (maker,) = self.rng.choices(list(makers), weights=list(makers.values()))
                body = maker()
            body["received_at"] = stamp(_NOW + 1000 * len(self.bodies))
            self.bodies.append(body)
        self.rng.shuffle(self.bodies)
        return self.bodies

    # The parts that events share

    def chance(self, p: float) -> bool:
        return self.rng.random() < p

    def maybe(self, p: float, **fields: Any) -> Body:
        """The fields, each with probability p; a sequence given stands for one of its members."""
        return {name: self.rng.choice(values) for name, values in fields.items() if self.chance(p)}

    def new_id(self) -> str:
        """Ids that other types use too, and that sort differently by byte, by case and by language."""
        self.ids += 1
        prefix = self.rng.choice(("x", "X", "é", "😀", "ﬁ/", "#"))
        return f"{prefix}{self.ids}" if self.chance(0.7) else f"id{self.ids % 9}"

    def before(self) -> int:
        if self.chance(0.1):
            return self.rng.choice(_LONG_AGO)
        return self.rng.choice(self.anchors) - self.rng.choice(_BEFORE)

    def near(self) -> int:
        if self.chance(0.05):
            return self.before()
        return self.rng.choice(self.anchors) + self.rng.choice((0, 0, 0, 0, 1, -1, SECOND, -SECOND))

    def event(self, kind: str, key: str, at: int) -> Body:
        body: Body = {"type": kind, IDS[kind]: self.new_id(), KEYS[kind]: key, "occurred_at": stamp(at)}
        if self.chance(0.12):
            raw = self.rng.choice((0, at - self.rng.choice(_CORRECTIONS[1:])))
            body |= {"occurred_at_raw": stamp(raw)} if raw != at else {}
        body |= self.maybe(0.12, revision=(1, 1, 2, -1, 1_767_225_600_000))
        body |= self.maybe(0.12, extra=_EXTRAS)
        body |= self.maybe(0.02, v=(2,))
        if KEYS[kind] == "subject" and self.chance(0.05):
            body |= {"subject": f"anonymous-{self.ids}", "anonymous": True}
        return body

    # One maker per type

    def exposure(self) -> Body:
        body = self.event("exposure", self.rng.choice(self.subjects), self.before())
        body |= {"touchpoint": self.rng.choice(("eta_card", "slot offer")), "model_id": self.rng.choice(self.models)}
        body |= {"model_version": self.rng.choice(("v1", "v2"))}
        body |= self.maybe(0.6, arm=("stable", "canary", "stable", "canary", "blue-2", "holdout"))
        body |= self.maybe(0.5, courier=self.couriers) | self.maybe(0.6, delivery_id=self.deliveries)
        body |= self.maybe(0.08, error=("timeout", "HTTP 500", ""), fallback=(True, False))
        body |= self.maybe(0.2, rollout_id=("r1", "r2"), latency_ms=(0.0, 480.5, 2000.0), features=(0, 7))
        body |= self.maybe(0.2, placement=("edge", "cloud"), site=("hub-1", "hub-2"), device=("scanner",), zone=("z1",))
        body |= self.maybe(0.2, segment=("new",), profile_version=("p1",), energy_mj=(1.25,))
        return body

    def response(self) -> Body:
        respondent = self.rng.choice(("customer", "customer", "agent"))
        people = self.couriers if respondent == "agent" else self.subjects
        body = self.event("response", self.rng.choice(people), self.near())
        body |= {"respondent": respondent, "survey_id": self.rng.choice(("pulse", "tür/1")), "answers": self.answers()}
        body |= {"source": self.rng.choice(SOURCES)}
        body |= self.maybe(0.45, delivery_id=self.deliveries) | self.maybe(0.2, language=("de", "en"))
        body |= self.maybe(0.3, partial=(True,))
        return body | self.link(body)

    def answers(self) -> list[Body]:
        questions = _QUESTIONS[: self.rng.choice((2, 6))]
        return [self.answer(self.rng.choice(questions)) for _ in range(self.rng.choice((0, 1, 1, 2, 4)))]

    def answer(self, question: str) -> Body:
        scales: tuple[Body, ...] = (
            {"kind": "nps", "value": float(self.rng.randrange(11)), "low": 0.0, "high": 10.0},
            {"kind": "csat", "value": 4.0, "low": 1.0, "high": 5.0, "label": "zufrieden"},
            {"kind": "ces", "value": 5.5},
            {"kind": "rating"},
            {"kind": "number", "value": -2.5},
            {"kind": "boolean", "value": float(self.rng.randrange(2)), "label": "ja"},
            {"kind": "choice", "label": "abends", "value": 3.0},
            {"kind": "text", "text": "zu spät,\n„leider“"},
            {"kind": "text", "text": "", "value": 1.0},
        )
        return {"question": question, **self.rng.choice(scales)}

    def engagement(self) -> Body:
        body = self.event("engagement", self.rng.choice(self.subjects), self.near())
        body |= {"name": self.rng.choice(("tip", "reorder", "a/b")), "source": self.rng.choice(SOURCES)}
        body |= self.maybe(0.5, value=(0.0, -3.5, 12.25), currency=("EUR", "USD"))
        body |= self.maybe(0.45, delivery_id=self.deliveries)
        return body | self.link(body)

    def link(self, outcome: Body) -> Body:
        """A named exposure: mostly its own, else someone's, one never shown, one long gone, or none that exists."""
        if self.chance(0.5):
            return {}
        exposures = [b for b in self.bodies if b["type"] == "exposure"]
        join = "courier" if outcome.get("respondent") == "agent" else "subject"
        own = [e for e in exposures if e.get(join) == outcome["subject"]]
        unseen = [e for e in own if e.get("arm") == "holdout" or e.get("error") or e.get("fallback")]
        far = [e for e in own if abs(micros(e["occurred_at"]) - micros(outcome["occurred_at"])) > ANSWER_WINDOW]
        pool = self.rng.choice((own, own, own, far, far, unseen, exposures, []))
        return {"exposure_id": self.rng.choice(pool)["exposure_id"] if pool else "no such exposure"}

    def profile(self) -> Body:
        body = self.event("profile", self.rng.choice(self.subjects), self.near())
        body |= {"side": self.rng.choice(("cloud", "edge")), "profile_version": self.rng.choice(("p1", "p2"))}
        fields: Body = {"tier": "gold", "größe": {"b": 1, "a": [1.5, None]}, "Alter": 40}
        return body | self.maybe(0.7, fields=(fields, {"tier": "basic"}), site=("hub-1",))

    def telemetry(self) -> Body:
        at = self.near()
        body = self.event("telemetry", self.rng.choice(("hub-1", "hub-2")), at)
        body |= {"kind": self.rng.choice(("route_update", "message", "profile_sync", "device"))}
        body |= self.maybe(0.5, message_id=("m1",), message_sent_at=(stamp(at - SECOND),))
        body |= self.maybe(0.5, message_delivered_at=(stamp(at + 1),), battery=(0.5,), cpu=(0.0, 0.93))
        return body | self.maybe(0.5, free_mb=(512.0,), energy_mj=(7.5,))

    def change(self) -> Body:
        at = self.near()
        body = self.event("change", self.rng.choice(self.models), at)
        body |= {"to_version": "v2", "kind": self.rng.choice(("canary", "staged", "switch", "rollback"))}
        body |= self.maybe(0.5, from_version=("v1",), title=("Größere Karte",), rollout_id=("r1", "r2"))
        body |= self.maybe(0.5, ended_at=(stamp(at + DAY),), allocation=({"v2": 0.5, "holdout": 0.0, "v1": 0.5},))
        body |= self.maybe(0.5, unit=("courier", "zone", "zone_time"), assignment=("random", "chosen"))
        body |= self.maybe(0.5, planned_units=(2000,), planned_stages=(3,), zones=(["z2", "z1"],), owner=("Ops",))
        body |= self.maybe(0.5, features=(["slot", "ä"],), shares_capacity=(True,), note=("n",))
        return body | self.maybe(0.3, cluster=("site", "courier"), strata=(["zone"], ["segment", "device"]))

    # The same id once more

    def again(self, original: Body) -> Body:
        """Another body or delivery of an event that is there already, or its id under another key."""
        body = copy.deepcopy(original)
        kind = body["type"]
        ways = [self.redeliver, self.redeliver, self.reorder, self.revise, self.retime, self.annotate, self.move]
        ways += [self.anonymise] if KEYS[kind] == "subject" else []
        if kind == "exposure":
            ways += [self.recourier, self.recourier, self.remodel, self.hide, self.move_carried, self.move_carried]
        elif kind in ("response", "engagement"):
            ways += [self.relink, self.redeliver]
            ways += [self.finish, self.reanswer] if kind == "response" else []
            ways += [self.swap_respondent] if kind == "response" and self.mixed_keys else []
        self.rng.choice(ways)(body)
        if self.chance(0.2):
            self.revise(body)
        return body

    def redeliver(self, body: Body) -> None:
        """The same words through a door that corrects the clock by another amount (or not at all)."""
        was = micros(body["occurred_at"])
        raw = micros(body.pop("occurred_at_raw", body["occurred_at"]))
        mirrored = raw - was
        correction = mirrored if mirrored and self.chance(0.3) else self.rng.choice(_CORRECTIONS)
        body["occurred_at"] = stamp(raw + correction)
        if correction:
            body["occurred_at_raw"] = stamp(raw)

    def reorder(self, body: Body) -> None:
        """The same JSON object with its members in another order: no other body."""
        members = list(body.items())
        body.clear()
        body.update((k, dict(reversed(v.items())) if isinstance(v, dict) else v) for k, v in reversed(members))

    def revise(self, body: Body) -> None:
        body["revision"] = body.get("revision", 0) + self.rng.choice((1, 1, 2, -1))
        if body["revision"] == 0:
            del body["revision"]

    def retime(self, body: Body) -> None:
        body.pop("occurred_at_raw", None)
        body["occurred_at"] = stamp(self.before() if body["type"] == "exposure" else self.near())

    def annotate(self, body: Body) -> None:
        """A body that differs in what decides nothing, so that only its hash ranks it."""
        body["extra"] = self.rng.choice(_EXTRAS)

    def move(self, body: Body) -> None:
        """The same id under another key: another event."""
        keys = {"site": ["hub-1", "hub-2"], "model_id": self.models, "subject": self.subjects}[KEYS[body["type"]]]
        if body.get("respondent") == "agent":
            keys = self.couriers
        body[KEYS[body["type"]]] = self.rng.choice(keys)
        body.pop("anonymous", None)

    def move_carried(self, body: Body) -> None:
        """The same id under another customer, carried by one courier."""
        self.move(body)
        body.setdefault("courier", self.rng.choice(self.couriers))
        if self.chance(0.5):
            self.remodel(body)

    def anonymise(self, body: Body) -> None:
        if not body.pop("anonymous", False):
            body["anonymous"] = True

    def recourier(self, body: Body) -> None:
        body.pop("courier", None)
        body |= self.maybe(0.6, courier=self.couriers)

    def remodel(self, body: Body) -> None:
        body |= {"model_id": self.rng.choice(self.models), "model_version": self.rng.choice(("v1", "v2", "v3"))}

    def hide(self, body: Body) -> None:
        body |= self.rng.choice(({"arm": "holdout"}, {"fallback": True}, {"error": "late"}, {"arm": "stable"}))

    def relink(self, body: Body) -> None:
        body.pop("exposure_id", None)
        body |= self.link(body)

    def finish(self, body: Body) -> None:
        if not body.pop("partial", False):
            body["partial"] = True

    def reanswer(self, body: Body) -> None:
        body["answers"] = self.answers()

    def swap_respondent(self, body: Body) -> None:
        body["respondent"] = "agent" if body["respondent"] == "customer" else "customer"
