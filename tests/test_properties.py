"""What holds for any world and whatever happens to it on the way: order, batches, duplicates, crashes, damaged records.

Hypothesis' profile (`tests/conftest.py`) says how many examples: 60 in `make test`, 2,000 in `make chaos`.
"""

from __future__ import annotations

import random
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from hypothesis import Phase, event, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from edgeloop.events import DEAD_LETTERS_TOPIC
from edgeloop.settings import AttributionSettings, CreditRule
from edgeloop.store.reader import SqliteReader
from tests import strategies
from tests.oracle import COLUMNS, oracle
from tests.pipeline import Body, Spine, expect, rules_for_oracle, small_rooms, tables
from tests.strategies import Aborted, Again, Append, Drained, Reopened, Step, Undecodable
from tests.worlds import ANSWER_WINDOW, shuffled_with_duplicates, world

RESPONDENTS = ("customer", "agent")


@contextmanager
def spine(settings: AttributionSettings, *, small: bool = False) -> Iterator[Spine]:
    """A home of its own for one example (a fixture would be shared by all of them), ``small`` in small rooms."""
    with tempfile.TemporaryDirectory() as folder, small_rooms() if small else nullcontext():
        opened = Spine(Path(folder) / "home", settings)
        try:
            yield opened
        finally:
            opened.close()


def take(home: Spine, step: Step) -> None:
    """Do what a step says; the count identity holds after it, whatever it was."""
    match step:
        case Append(bodies):
            home.append(bodies)
        case Again(nth, how):
            if home.bodies:
                home.append([strategies.again(home.bodies[-1 - nth % len(home.bodies)], how)])
        case Drained(max_records, meanwhile):
            home.drain(max_records, meanwhile=meanwhile)
        case Aborted(max_records, spared, before, reopen):
            broke_off = home.abort(max_records, spared, before=before, reopen=reopen)
            event("a transaction broke off" if broke_off else "nothing was left to break off")
        case Reopened():
            home.reopen()
        case Undecodable(topic, key, raw):
            home.append_undecodable(topic, key, raw)
    counted = home.counts()
    assert counted.balanced, (step, counted)


def everything_drained(home: Spine) -> None:
    """All that was appended is drained and in one place, and nothing waits."""
    home.drain()
    counted = home.counts()
    assert counted.balanced, counted
    assert counted.drained == len(home.bodies) + home.undecodable
    assert counted.dead_letters == home.undecodable
    reader = SqliteReader(home.home / "store.sqlite")
    ((waiting,),) = reader.query("SELECT count(*) FROM dirty_keys")[1]
    reader.close()
    assert waiting == 0, "couriers' keys were left waiting"


@given(settings=strategies.settings(), steps=strategies.steps(), small=st.booleans())
def test_whatever_happens_the_tables_are_the_oracles(
    settings: AttributionSettings, steps: list[Step], small: bool
) -> None:
    with spine(settings, small=small) as home:
        for step in steps:
            take(home, step)
        everything_drained(home)
        expect(tables(home.home), home.bodies, settings)


@given(
    rng=st.randoms(use_true_random=False),
    settings=strategies.settings(),
    plan=strategies.batches(),
    small=st.booleans(),
)
def test_large_worlds_are_the_oracles(
    rng: random.Random, settings: AttributionSettings, plan: tuple[list[int], int], small: bool
) -> None:
    size = rng.choice((20, 60, 120))
    bodies = shuffled_with_duplicates(rng, world(rng, size, mixed_keys=rng.random() < 0.3), 0.1)
    with spine(settings, small=small) as home:
        in_batches(home, bodies, plan)
        expect(tables(home.home), bodies, settings)


def in_batches(home: Spine, bodies: list[Body], plan: tuple[list[int], int]) -> None:
    """Append by the sizes planned, the rest at once, and drain after each."""
    sizes, max_records = plan
    start = 0
    for size in (*sizes, len(bodies)):
        home.append(bodies[start : start + size])
        start += size
        home.drain(max_records)
        assert home.counts().balanced


@given(strategies.settings(), strategies.in_two_orders(), strategies.batches(), strategies.batches())
def test_order_and_batches_change_nothing(
    settings: AttributionSettings,
    orders: tuple[list[Body], list[Body]],
    one: tuple[list[int], int],
    other: tuple[list[int], int],
) -> None:
    with spine(settings) as first, spine(settings) as second:
        in_batches(first, orders[0], one)
        with small_rooms():
            second.reopen()
            in_batches(second, orders[1], other)
        assert tables(first.home) == tables(second.home)
        assert first.counts() == second.counts()


@given(strategies.settings(), strategies.in_two_orders(), strategies.batches())
def test_credits_of_an_outcome_sum_to_one_per_model(
    settings: AttributionSettings, orders: tuple[list[Body], list[Body]], plan: tuple[list[int], int]
) -> None:
    with spine(settings) as home:
        in_batches(home, orders[1], plan)
        reader = SqliteReader(home.home / "store.sqlite")
        rows = reader.query("SELECT subject, outcome_id, model_id, exposure_id, credit FROM attributions")[1]
        reader.close()
    credit: dict[tuple[str, str, str], float] = defaultdict(float)
    for subject, outcome, model, exposure, share in rows:
        assert (model == "") == (exposure == "")
        assert (share == 0) if model == "" else (0 < share <= 1)
        credit[subject, outcome, model] += share
    assert len(rows) == len({row[:4] for row in rows})
    for (subject, outcome, model), total in credit.items():
        assert model == "" or abs(total - 1) < 1e-12, (subject, outcome, model, total)
        assert model != "" or not any(k[:2] == (subject, outcome) and k[2] for k in credit), "matched and unmatched"
    event("credited" if any(model for _, _, model in credit) else "nothing credited")


@given(strategies.settings(), strategies.in_two_orders(), strategies.batches())
def test_no_denominator_is_lost(
    settings: AttributionSettings, orders: tuple[list[Body], list[Body]], plan: tuple[list[int], int]
) -> None:
    """As many outcomes with a row of attribution as the base tables hold, each under its own name."""
    with spine(settings) as home:
        in_batches(home, orders[1], plan)
        reader = SqliteReader(home.home / "store.sqlite")
        asked = reader.query(
            "SELECT subject, 'e:' || event_id, name FROM engagement UNION ALL"
            " SELECT subject, 'a:' || response_id, survey_id || '/' || question FROM answers"
        )[1]
        told = reader.query(
            "SELECT subject, CASE outcome_type WHEN 'answer' THEN substr(outcome_id, 1, instr(outcome_id, '/') - 1)"
            " ELSE outcome_id END, outcome_name FROM attributions GROUP BY subject, outcome_id"
        )[1]
        reader.close()
    assert sorted(asked) == sorted(told)


@pytest.mark.parametrize("rule", strategies.RULES)
def test_keys_of_hundreds_of_events_are_the_oracles(rule: CreditRule) -> None:
    """As the large worlds, once, without small rooms: what a key holds fills pages of its own."""
    rng = random.Random(rule)
    bodies = shuffled_with_duplicates(rng, world(rng, 1_500), 0.1)
    settings = AttributionSettings(credit_rule=rule)
    with spine(settings) as home:
        in_batches(home, bodies, ([300, 200, 1, 100, 1, 1, 400, 50], 20_000))
        expect(tables(home.home), bodies, settings)


@pytest.mark.parametrize("raw", strategies.DAMAGED, ids=range(len(strategies.DAMAGED)))
def test_a_damaged_record_is_a_dead_letter_and_stops_nothing(raw: bytes) -> None:
    with spine(AttributionSettings()) as home:
        home.append_undecodable("engagement.events", "ann", raw)
        home.append_undecodable("engagement.events", "ann", raw)
        everything_drained(home)


def test_a_damaged_dead_letter_stops_nothing() -> None:
    """The door writes that topic; what else stands in it must not keep everybody's events out of the tables."""
    with spine(AttributionSettings()) as home:
        home.append(world(random.Random(1), 20))
        home.append_raw(DEAD_LETTERS_TOPIC, "ann", b'{"reason":')
        home.drain()
        assert home.counts().drained == len(home.bodies)


def test_the_strategies_hold_what_they_are_for() -> None:
    """Comparing empty tables would pass too: some hundred examples must hold each way of matching, and the rest."""
    seen: dict[str, int] = defaultdict(int)

    @hypothesis_settings(max_examples=400, derandomize=True, phases=[Phase.generate])
    @given(settings=strategies.settings(), steps=strategies.steps())
    def look(settings: AttributionSettings, steps: list[Step]) -> None:
        bodies: list[Body] = []
        for step in steps:
            match step:
                case Append(arrived):
                    bodies += arrived
                case Again(nth, how) if bodies:
                    bodies.append(strategies.again(bodies[-1 - nth % len(bodies)], how))
                    seen[how] += 1
                case Aborted() | Undecodable() | Reopened() if bodies:
                    seen[type(step).__name__] += 1
        wanted = oracle(bodies, rules_for_oracle(settings))
        kept = sum(len(wanted[table]) for table in (*COLUMNS, "superseded"))
        seen["superseded"] += len(wanted["superseded"])
        seen["duplicates"] += len(bodies) - kept
        for row in wanted["attributions"]:
            respondent, credit, rule, by = row[6], *row[14:17]
            seen[f"{by} {respondent}"] += 1
            seen[f"shared by {rule}"] += 0 < credit < 1
            seen["delivery beyond the window"] += by == "delivery" and row[17] * 1e6 > ANSWER_WINDOW

    look()
    ways = [f"{by} {respondent}" for by in ("explicit", "delivery", "window", None) for respondent in RESPONDENTS]
    shares = [f"shared by {rule}" for rule in ("linear", "time_decay", "position_based")]
    others = [
        "delivery beyond the window",
        "Aborted",
        "Undecodable",
        "Reopened",
        "superseded",
        "duplicates",
        *strategies.AGAIN,
    ]
    rare = {what: seen[what] for what in (*ways, *shares, *others) if seen[what] < 5}
    assert not rare, dict(seen)
