"""The tables are a function of the set of events: any order, batching and duplication gives the oracle's rows."""

from __future__ import annotations

import random
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from edgeloop.settings import AttributionSettings, CreditRule
from tests.oracle import oracle
from tests.pipeline import in_order, rules_for_oracle, run
from tests.worlds import shuffled_with_duplicates, world

RULES = get_args(CreditRule)


def expect(home: Path, bodies: list[dict], settings: AttributionSettings, **how: object) -> None:  # type: ignore[type-arg]
    found = run(home, bodies, settings, **how)  # type: ignore[arg-type]
    wanted = oracle(bodies, rules_for_oracle(settings))
    assert set(wanted) == set(found)
    for table, rows in wanted.items():
        assert found[table] == in_order(rows), table


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(20))
def test_shuffled_with_duplicates_in_random_chunks(tmp_path: Path, rule: CreditRule, seed: int) -> None:
    rng = random.Random(seed)
    settings = AttributionSettings(credit_rule=rule, max_touches=rng.choice([2, 3, 5, 50]))
    bodies = shuffled_with_duplicates(rng, world(rng, 150), 0.1)
    chunks = [rng.randrange(1, 40) for _ in range(rng.randrange(8))]
    expect(tmp_path / "home", bodies, settings, chunks=chunks)


@pytest.mark.parametrize("rule", RULES)
def test_one_event_per_batch(tmp_path: Path, rule: CreditRule) -> None:
    rng = random.Random(f"one by one {rule}")
    settings = AttributionSettings(credit_rule=rule, max_touches=3)
    bodies = shuffled_with_duplicates(rng, world(rng, 80), 0.1)
    expect(tmp_path / "home", bodies, settings, chunks=[1] * len(bodies), max_records=1)


@pytest.mark.parametrize("rule", RULES)
def test_outcomes_before_exposures(tmp_path: Path, rule: CreditRule) -> None:
    rng = random.Random(f"outcomes first {rule}")
    settings = AttributionSettings(credit_rule=rule)
    bodies = shuffled_with_duplicates(rng, world(rng, 150), 0.1)
    bodies.sort(key=lambda body: body["type"] == "exposure")
    outcomes = sum(body["type"] != "exposure" for body in bodies)
    expect(tmp_path / "home", bodies, settings, chunks=[outcomes])


def test_the_worlds_hold_what_they_are_for() -> None:
    """A comparison of empty tables would pass too: the random worlds must exercise every way of matching."""
    seen: dict[str, int] = {}
    for seed in range(20):
        rng = random.Random(seed)
        tables = oracle(shuffled_with_duplicates(rng, world(rng, 150), 0.1), rules_for_oracle(AttributionSettings()))
        for row in tables["attributions"]:
            by, respondent = row[16], row[6]
            seen[f"{by} {respondent}"] = seen.get(f"{by} {respondent}", 0) + 1
        seen["superseded"] = seen.get("superseded", 0) + len(tables["superseded"])
    for by in ("explicit", "delivery", "window", None):
        for respondent in ("customer", "agent"):
            assert seen.get(f"{by} {respondent}", 0) > 5, (by, respondent, seen)
    assert seen["superseded"] > 20


def test_every_body_decodes_to_an_event_of_the_contract() -> None:
    from edgeloop.events import decode

    rng = random.Random(99)
    for body in world(rng, 300):
        decode(msgspec.json.encode(body))
