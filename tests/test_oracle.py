"""The oracle against cases worked by hand, and the worlds it is fed: a wrong oracle would bless wrong tables."""

import hashlib
import json
import random
from collections import Counter
from typing import Any

import pytest

from edgeloop.events import decode, encode, stamped
from tests import worlds
from tests.oracle import COLUMNS, oracle, rank
from tests.worlds import DAY, HOUR, SECOND, random_rules, shuffled_with_duplicates, stamp, world

NOON = 1_768_046_400_000_000
"""2026-01-10T12:00:00Z, when the outcomes happen."""

RULES: dict[str, Any] = {
    "engagement_window_us": 72 * HOUR,
    "answer_window_us": 14 * DAY,
    "delivery_window_us": 120 * DAY,
    "credit_rule": "last_touch",
    "max_touches": 50,
    "whole_second_sources": ["typeform"],
}


def shown(exposure_id: str, before: int, **fields: Any) -> dict[str, Any]:
    """An exposure of customer `ann`, ``before`` µs ahead of noon."""
    return {
        "type": "exposure",
        "exposure_id": exposure_id,
        "subject": "ann",
        "occurred_at": stamp(NOON - before),
        "received_at": "2026-02-01T00:00:00Z",
        "touchpoint": "card",
        "model_id": "eta",
        "model_version": "v1",
        **fields,
    }


def tip(**fields: Any) -> dict[str, Any]:
    """An engagement of `ann` at noon."""
    return {
        "type": "engagement",
        "event_id": "t",
        "subject": "ann",
        "occurred_at": stamp(NOON),
        "received_at": "2026-02-01T00:00:00Z",
        "name": "tip",
        "source": "app",
        **fields,
    }


def said(*answers: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A response of `ann` at noon, to one question if nothing else is given."""
    return {
        "type": "response",
        "response_id": "r",
        "subject": "ann",
        "occurred_at": stamp(NOON),
        "received_at": "2026-02-01T00:00:00Z",
        "respondent": "customer",
        "survey_id": "pulse",
        "source": "app",
        "answers": list(answers) or [{"question": "nps", "kind": "nps", "value": 9.0}],
        **fields,
    }


def credited(*bodies: dict[str, Any], **rules: Any) -> dict[str, tuple[float, str | None]]:
    """exposure_id (``""`` where there was none): (credit, matched_by)."""
    rows = oracle(list(bodies), RULES | rules)["attributions"]
    named = {row[4]: (row[14], row[16]) for row in rows}
    assert len(named) == len(rows)
    return named


@pytest.mark.parametrize(
    ("rule", "credits"),
    [
        ("last_touch", {"d": 1.0}),
        ("first_touch", {"a": 1.0}),
        ("linear", {"a": 0.25, "b": 0.25, "c": 0.25, "d": 0.25}),
        ("time_decay", {"a": 1 / 15, "b": 2 / 15, "c": 4 / 15, "d": 8 / 15}),  # 3, 2, 1 and 0 weeks before
        ("position_based", {"a": 0.4, "b": 0.1, "c": 0.1, "d": 0.4}),
    ],
)
def test_credit_rules(rule: str, credits: dict[str, float]) -> None:  # noqa: A002
    touches = [shown("a", 21 * DAY), shown("b", 14 * DAY), shown("c", 7 * DAY), shown("d", 0)]
    found = credited(*touches, said(), credit_rule=rule, answer_window_us=21 * DAY)
    assert found == {e: (pytest.approx(credit, abs=1e-15), "window") for e, credit in credits.items()}


@pytest.mark.parametrize("rule", worlds.CREDIT_RULES)
def test_one_touch_has_all_the_credit_however_far_away(rule: str) -> None:
    """Forty years are 2,087 half-lives: as a float that weight is 0 one way and too large the other."""
    far = 40 * 365 * DAY
    assert credited(shown("a", far), tip(exposure_id="a"), credit_rule=rule) == {"a": (1.0, "explicit")}
    assert credited(shown("a", -far), tip(exposure_id="a"), credit_rule=rule) == {"a": (1.0, "explicit")}


def test_two_touches_of_position_based_share_evenly() -> None:
    found = credited(shown("a", 2), shown("b", 1), tip(), credit_rule="position_based")
    assert found == {"a": (0.5, "window"), "b": (0.5, "window")}


@pytest.mark.parametrize(
    ("rule", "most", "credits"),
    [
        ("linear", 2, {"c": 0.5, "d": 0.5}),
        ("linear", 4, {"a": 0.25, "b": 0.25, "c": 0.25, "d": 0.25}),
        ("first_touch", 1, {"a": 1.0}),
        ("last_touch", 1, {"d": 1.0}),
        ("position_based", 1, {"a": 1.0}),
        ("position_based", 2, {"a": 0.5, "d": 0.5}),
        ("position_based", 3, {"a": 0.4, "c": 0.2, "d": 0.4}),
    ],
)
def test_max_touches(rule: str, most: int, credits: dict[str, float]) -> None:  # noqa: A002
    touches = [shown(name, before) for name, before in (("d", 1), ("b", 3), ("a", 4), ("c", 2))]
    found = credited(*touches, tip(), credit_rule=rule, max_touches=most)
    assert {e: credit for e, (credit, _) in found.items()} == credits


def test_credit_sums_to_one_per_model() -> None:
    touches = [shown("a", 3), shown("b", 2), shown("c", 1, model_id="slot")]
    found = credited(*touches, tip(), credit_rule="linear")
    assert found == {"a": (0.5, "window"), "b": (0.5, "window"), "c": (1.0, "window")}


def test_ties_break_by_id_in_byte_order() -> None:
    at_once = [shown(name, 5) for name in ("a", "😀", "Z", "ﬁ")]
    assert credited(*at_once, tip()) == {"😀": (1.0, "window")}  # in UTF-16 the ligature would come last
    assert credited(*at_once, tip(), credit_rule="first_touch") == {"Z": (1.0, "window")}


@pytest.mark.parametrize(
    ("outcome", "before", "hit"),
    [
        (tip(), 72 * HOUR, True),
        (tip(), 72 * HOUR + 1, False),
        (tip(), 0, True),
        (tip(), -1, False),
        (tip(source="typeform"), -SECOND, True),
        (tip(source="typeform"), -SECOND - 1, False),
        (tip(source="typeform"), 72 * HOUR + 1, False),
        (said(), 14 * DAY, True),
        (said(), 14 * DAY + 1, False),
        (said(source="typeform"), -SECOND, True),
        (said(), -1, False),
    ],
)
def test_window_edges(outcome: dict[str, Any], before: int, hit: bool) -> None:
    assert credited(shown("a", before), outcome) == ({"a": (1.0, "window")} if hit else {"": (0.0, None)})


@pytest.mark.parametrize("hidden", [{"arm": "holdout"}, {"fallback": True}, {"error": "timeout"}, {"anonymous": True}])
def test_what_nobody_saw_is_no_candidate_and_cannot_be_named(hidden: dict[str, Any]) -> None:
    assert credited(shown("a", 1, **hidden), tip()) == {"": (0.0, None)}
    assert credited(shown("a", 1, **hidden), shown("b", 2), tip(exposure_id="a")) == {"b": (1.0, "window")}


def test_fallback_that_did_not_happen_is_shown() -> None:
    assert credited(shown("a", 1, fallback=False, arm="stable"), tip()) == {"a": (1.0, "window")}


def test_a_named_exposure_is_alone_for_its_model_only() -> None:
    touches = [
        shown("a", 100 * DAY),
        shown("b", 1),
        shown("c", 2, model_id="slot", delivery_id="d1"),
        shown("e", 1, model_id="slot"),
        shown("f", 1, model_id="promo"),
    ]
    found = credited(*touches, tip(exposure_id="a", delivery_id="d1"))
    assert found == {"a": (1.0, "explicit"), "c": (1.0, "delivery"), "f": (1.0, "window")}


@pytest.mark.parametrize("name", ["z", "nowhere"])
def test_a_link_to_another_customers_exposure_or_to_none_is_ignored(name: str) -> None:
    assert credited(shown("a", 1), shown("z", 1, subject="bob"), tip(exposure_id=name)) == {"a": (1.0, "window")}


def test_delivery_narrows_before_touches_are_counted() -> None:
    touches = [shown("a", 3, delivery_id="d1"), shown("b", 2, delivery_id="d2"), shown("c", 1)]
    assert credited(*touches, tip(delivery_id="d1"), max_touches=1) == {"a": (1.0, "delivery")}
    assert credited(*touches, tip(delivery_id="d9")) == {"c": (1.0, "window")}
    assert credited(*touches, tip()) == {"c": (1.0, "window")}


def test_a_delivery_that_is_named_is_met_outside_the_window_too() -> None:
    touches = [shown("a", 80 * HOUR, delivery_id="d1"), shown("b", 1), shown("c", 1, model_id="slot")]
    found = credited(*touches, tip(delivery_id="d1"))
    assert found == {"a": (1.0, "delivery"), "c": (1.0, "window")}
    assert credited(*touches, tip(delivery_id="d2")) == {"b": (1.0, "window"), "c": (1.0, "window")}
    assert credited(*touches, tip(delivery_id="d1"), delivery_window_us=0) == {
        "b": (1.0, "window"),
        "c": (1.0, "window"),
    }


@pytest.mark.parametrize(
    ("outcome", "before", "hit"),
    [
        (tip(), 120 * DAY, True),
        (tip(), 120 * DAY + 1, False),
        (said(), 120 * DAY, True),
        (said(), 120 * DAY + 1, False),
        (said(), 0, True),
        (said(), -1, False),
        (said(source="typeform"), -SECOND, True),
        (said(source="typeform"), -SECOND - 1, False),
    ],
)
def test_how_far_a_delivery_reaches(outcome: dict[str, Any], before: int, hit: bool) -> None:
    found = credited(shown("a", before, delivery_id="d1"), outcome | {"delivery_id": "d1"})
    assert found == ({"a": (1.0, "delivery")} if hit else {"": (0.0, None)})


def test_a_delivery_reaches_no_less_far_than_the_window() -> None:
    touches = [shown("a", 14 * DAY, delivery_id="d1"), shown("b", 1)]
    found = credited(*touches, said(delivery_id="d1"), delivery_window_us=DAY)
    assert found == {"a": (1.0, "delivery")}


def test_agents_meet_a_delivery_that_they_carried_and_customers_their_own() -> None:
    touches = [
        shown("a", 50 * DAY, courier="kim", delivery_id="d1"),
        shown("b", 50 * DAY, courier="lou", delivery_id="d2"),
        shown("c", 50 * DAY, subject="bob", delivery_id="d3"),
    ]
    agent = said(subject="kim", respondent="agent")
    assert credited(*touches, agent | {"delivery_id": "d1"}) == {"a": (1.0, "delivery")}
    assert credited(*touches, agent | {"delivery_id": "d2"}) == {"": (0.0, None)}
    assert credited(*touches, said(delivery_id="d3")) == {"": (0.0, None)}


def test_anonymous_outcomes_are_kept_and_match_nothing() -> None:
    assert credited(shown("a", 1), tip(anonymous=True, exposure_id="a")) == {"": (0.0, None)}


def test_agents_meet_what_they_carried_and_customers_what_they_saw() -> None:
    touches = [shown("a", 1, courier="kim"), shown("b", 2, subject="kim")]
    agent = said(subject="kim", respondent="agent")
    assert credited(*touches, agent) == {"a": (1.0, "window")}
    assert credited(*touches, said(subject="kim")) == {"b": (1.0, "window")}
    assert credited(*touches, tip(subject="kim")) == {"b": (1.0, "window")}
    assert credited(*touches, said(respondent="agent")) == {"": (0.0, None)}


def test_agents_meet_anonymous_customers_exposures_and_may_name_them() -> None:
    agent = said(subject="kim", respondent="agent")
    assert credited(shown("a", 1, courier="kim", anonymous=True), agent) == {"a": (1.0, "window")}
    far = [shown("a", 99 * DAY, courier="kim"), shown("b", 1, courier="kim"), shown("c", 1, courier="lou")]
    assert credited(*far, agent | {"exposure_id": "a"}) == {"a": (1.0, "explicit")}
    assert credited(*far, agent | {"exposure_id": "c"}) == {"b": (1.0, "window")}


def test_the_courier_is_the_winning_versions() -> None:
    versions = [shown("a", 1, courier="kim"), shown("a", 1, courier="lou", revision=1)]
    assert credited(*versions, said(subject="kim", respondent="agent")) == {"": (0.0, None)}
    assert credited(*versions, said(subject="lou", respondent="agent")) == {"a": (1.0, "window")}
    gone = [shown("a", 1, courier="kim"), shown("a", 1, revision=1)]
    assert credited(*gone, said(subject="kim", respondent="agent")) == {"": (0.0, None)}


def test_one_id_under_two_customers_counts_once_for_their_courier() -> None:
    ann, bob = shown("a", 2, courier="kim"), shown("a", 1, courier="kim", subject="bob", model_id="slot")
    agent = said(subject="kim", respondent="agent")

    def models(*bodies: dict[str, Any]) -> list[str]:
        return [row[3] for row in oracle([*bodies, agent], RULES)["attributions"]]

    assert models(ann, bob) == ["eta"]  # the earlier one
    assert models(ann, bob | {"revision": 1}) == ["slot"]
    assert models(ann | {"arm": "holdout"}, bob) == [""]  # the winner decides, even if nobody saw it
    tables = oracle([ann, bob, agent], RULES)
    assert len(tables["exposures"]) == 2
    assert tables["superseded"] == []
    assert [row[3] for row in oracle([ann, bob, tip(subject="bob")], RULES)["attributions"]] == ["slot"]


@pytest.mark.parametrize(
    ("winner", "loser"),
    [
        (said(occurred_at=stamp(NOON + 5)), said(partial=True, revision=7)),  # final over partial
        (said(revision=2, occurred_at=stamp(NOON + 5)), said(revision=1)),  # then the highest revision
        (said(), said(revision=-1)),
        (said(occurred_at=stamp(NOON - 1)), said(language="de")),  # then the earliest raw time
        (said(occurred_at=stamp(NOON + DAY), occurred_at_raw=stamp(NOON - 1)), said()),
    ],
)
def test_the_winner_of_an_id(winner: dict[str, Any], loser: dict[str, Any]) -> None:
    for bodies in ([winner, loser], [loser, winner], [loser, winner, loser, winner]):
        tables = oracle(bodies, RULES)
        (row,) = tables["responses"]
        assert row[9] == (worlds.micros(winner["occurred_at"]))
        (lost,) = tables["superseded"]
        assert lost[:3] == ("response", "ann", "r")
        assert lost[4:] == (loser.get("revision", 0), NOON)
        assert len(tables["answers"]) == len(tables["attributions"]) == 1


def test_superseded_holds_the_hash_of_the_canonical_body() -> None:
    text = (
        '{"event_id":"t","extra":{"a":"ü","b":{"c":1,"d":[2.5]}},"name":"tip","occurred_at":"2026-01-10T12:00:00Z",'
        '"source":"app","subject":"ann","type":"engagement","value":5.0}'
    )
    texts = [text, text.replace("5.0", "6.0")]
    lower, higher = sorted(hashlib.sha256(text.encode()).hexdigest() for text in texts)
    extra = {"b": {"d": [2.5], "c": 1}, "a": "ü"}
    five, six = (tip(value=value, extra=extra, received_at=stamp(NOON + DAY)) for value in (5.0, 6.0))
    tables = oracle([five, six, five], RULES)
    assert tables["superseded"] == [("engagement", "ann", "t", higher, 0, NOON)]
    (row,) = tables["engagement"]
    assert hashlib.sha256(texts[int(row[4] - 5)].encode()).hexdigest() == lower
    assert row[-1] == '{"a":"ü","b":{"c":1,"d":[2.5]}}'


def test_deliveries_of_one_body_are_no_versions_and_the_smallest_correction_counts() -> None:
    def corrected(by: int) -> dict[str, Any]:
        return tip(occurred_at=stamp(NOON + by), **({"occurred_at_raw": stamp(NOON)} if by else {}))

    for corrections, counted in (((90, -60), -60), ((60, -60), -60), ((-90, 0, 60), 0), ((90, 91), 90)):
        tables = oracle([corrected(by * SECOND) for by in corrections], RULES)
        (row,) = tables["engagement"]
        assert row[8:10] == (NOON + counted * SECOND, NOON)
        assert tables["superseded"] == []


def test_attribution_uses_the_corrected_time() -> None:
    late_clock = shown("a", -HOUR, occurred_at=stamp(NOON - 5 * SECOND), occurred_at_raw=stamp(NOON + HOUR))
    (row,) = oracle([late_clock, tip()], RULES)["attributions"]
    assert row[14:] == (1.0, "last_touch", "window", 5.0)


def test_attribution_rows_in_full() -> None:
    touch = shown("a", 90 * SECOND + 1, arm="canary", rollout_id="r1")
    answers = said(
        {"question": "Wie war's / ä?", "kind": "nps", "value": 9.0, "low": 0.0, "high": 10.0},
        {"question": "why", "kind": "text", "text": "late", "value": 1.0},
        {"question": "why", "kind": "choice", "label": "slow", "value": 3.0},
        {"question": "ok", "kind": "boolean", "value": 0.0},
        {"question": "why", "kind": "rating"},
    )
    head = ("ann", "customer", NOON)
    unmatched = (None, None, None, None, 0.0, "last_touch", None, None)
    tail = (None, "v1", "canary", "r1", "card", 1.0, "last_touch", "window", 90.000001)
    tables = oracle([touch, answers, tip(value=2.5, currency="EUR", subject="bob")], RULES)
    assert tables["attributions"] == [
        ("a:r/Wie%20war%27s%20%2F%20%C3%A4%3F", "answer", "pulse/Wie war's / ä?", "eta", "a", *head, 9.0, *tail),
        ("a:r/ok", "answer", "pulse/ok", "eta", "a", *head, 0.0, *tail),
        ("a:r/why", "answer", "pulse/why", "eta", "a", *head, None, *tail),
        ("a:r/why#2", "answer", "pulse/why", "eta", "a", *head, None, *tail),
        ("a:r/why#3", "answer", "pulse/why", "eta", "a", *head, None, *tail),
        ("e:t", "engagement", "tip", "", "", "bob", "customer", NOON, 2.5, "EUR", *unmatched),
    ]
    about = ("r", "ann", "customer", "pulse", "app", NOON)
    assert tables["answers"] == [
        (*about, 0, "Wie war's / ä?", "nps", 9.0, 0.0, 10.0, None, None),
        (*about, 1, "why", "text", 1.0, None, None, None, "late"),
        (*about, 2, "why", "choice", 3.0, None, None, "slow", None),
        (*about, 3, "ok", "boolean", 0.0, None, None, None, None),
        (*about, 4, "why", "rating", None, None, None, None, None),
    ]


def test_base_rows_in_full() -> None:
    noon = (NOON, NOON, 0, 0, None)
    profile = {
        "type": "profile",
        "profile_id": "p",
        "subject": "ann",
        "occurred_at": stamp(NOON),
        "side": "edge",
        "profile_version": "p1",
        "fields": {"ü": 1, "a": None},
    }
    telemetry = {
        "type": "telemetry",
        "telemetry_id": "m",
        "site": "hub",
        "occurred_at": stamp(NOON),
        "kind": "message",
        "message_sent_at": stamp(1),
    }
    change = {
        "type": "change",
        "change_id": "c",
        "model_id": "eta",
        "occurred_at": stamp(NOON),
        "to_version": "v2",
        "kind": "canary",
        "ended_at": stamp(-1),
        "allocation": {"v2": 0.5, "holdout": 0.5},
        "zones": ["z2", "z1"],
        "features": ["f"],
    }
    exposure = shown("a", 0, fallback=False, features=7, latency_ms=5.0, revision=3, anonymous=True)
    bodies = [exposure | {"extra": {"b": 1, "a": 2}}, said(partial=True, language="de"), tip(value=1.5)]
    tables = oracle([*bodies, profile, telemetry, change], RULES)
    assert tables["exposures"] == [
        ("a", "ann", "card", "eta", "v1", None, None, 5.0, None, 0, 7, *[None] * 9, NOON, NOON, 3, 1, '{"a":2,"b":1}')
    ]
    assert tables["responses"] == [("r", "ann", "customer", "pulse", "app", None, None, "de", 1, *noon)]
    assert tables["engagement"] == [("t", "ann", "tip", "app", 1.5, None, None, None, *noon)]
    assert tables["profiles"] == [("p", "ann", "edge", "p1", None, '{"a":null,"ü":1}', *noon)]
    assert tables["telemetry"] == [("m", "hub", "message", None, 1, *[None] * 5, *noon)]
    rest = ("subject", None, None, None, '["z2","z1"]', '["f"]', 0, None, None, *noon, *[None] * 4)
    assert tables["changes"] == [("c", "eta", "v2", "canary", None, None, None, -1, '{"holdout":0.5,"v2":0.5}', *rest)]
    assert all(len(row) == len(COLUMNS[table]) for table in COLUMNS for row in tables[table])


def test_an_outcome_moves_with_its_winner() -> None:
    """A winner replaces all rows of the one it supersedes."""
    bodies = [shown("a", 1), said(), said({"question": "csat", "kind": "csat", "value": 4.0}, revision=1)]
    assert [row[0] for row in oracle(bodies, RULES)["attributions"]] == ["a:r/csat"]
    assert credited(shown("a", 1), shown("a", 80 * HOUR, revision=1), tip()) == {"": (0.0, None)}


@pytest.mark.parametrize("seed", range(20))
def test_worlds_are_log_form_and_reproducible(seed: int) -> None:
    bodies = world(random.Random(seed), 80, mixed_keys=seed % 2 == 0)
    assert len(bodies) == 80
    assert bodies == world(random.Random(seed), 80, mixed_keys=seed % 2 == 0)
    for body in bodies:
        event = decode(json.dumps(body).encode())
        assert json.loads(encode(event)) == body
        assert stamped(event).body_sha256.hex() == rank(body)[3]


@pytest.mark.parametrize("seed", range(20))
def test_arrival_and_duplicates_change_nothing(seed: int) -> None:
    rng = random.Random(seed)
    bodies, rules = world(rng, 80), random_rules(rng)
    again = shuffled_with_duplicates(rng, bodies, 0.4)
    assert len(again) == 112
    assert oracle(again, rules) == oracle(bodies, rules)


def test_worlds_reach_every_corner() -> None:
    met: Counter[object] = Counter()
    for seed in range(40):
        bodies = world(random.Random(seed), 120)
        linear = RULES | {"credit_rule": "linear", "whole_second_sources": list(worlds.WHOLE_SECOND_SOURCES)}
        tables = oracle(bodies, linear)
        for row in tables["attributions"]:
            window = worlds.ANSWER_WINDOW if row[1] == "answer" else worlds.ENGAGEMENT_WINDOW
            met[row[1], row[6], row[16]] += 1
            met["window met to the µs"] += row[16] == "window" and row[17] == window / 1e6
            met["tolerance met to the µs"] += row[16] == "window" and row[17] == -1.0
            met["far link"] += row[16] == "explicit" and row[17] * 1e6 > window
            met["delivery beyond the window"] += row[16] == "delivery" and row[17] * 1e6 > window
            met["delivery's window met to the µs"] += row[16] == "delivery" and row[17] == worlds.DELIVERY_WINDOW / 1e6
            met["link ahead of the outcome"] += row[16] == "explicit" and row[17] < -1
            met["asked again"] += "#2" in row[0] and row[1] == "answer"
        met.update(f"superseded {row[0]}" for row in tables["superseded"])
        at, key = COLUMNS["exposures"].index("occurred_at"), COLUMNS["exposures"].index("courier")
        ties = Counter((row[1], row[3], row[at]) for row in tables["exposures"])
        met["tied exposures"] += sum(n > 1 for n in ties.values())
        carried = Counter((row[0], row[key]) for row in tables["exposures"] if row[key])
        met["one id, two customers, one courier"] += sum(n > 1 for n in carried.values())
        by_body: dict[str, set[str]] = {}
        for body in bodies:
            by_body.setdefault(rank(body)[3], set()).add(body["occurred_at"])
        met["one body, two corrections"] += sum(len(times) > 1 for times in by_body.values())
    outcomes = (("answer", "customer"), ("answer", "agent"), ("engagement", "customer"))
    wanted: list[object] = [(*outcome, how) for outcome in outcomes for how in ("explicit", "delivery", "window", None)]
    wanted += [f"superseded {kind}" for kind in worlds.IDS]
    rare = {name: met[name] for name in [*wanted, *(k for k in met if isinstance(k, str))] if met[name] < 10}
    assert rare == {}
