"""Mistakes that a change of the attribution could bring in: the comparison with the oracle catches each.

A mutation replaces a piece of source, which is compiled anew and put in the place of what the batch step uses. A piece
that is no longer there fails its test: the list has to follow the code.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import random
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

import streams
from edgeloop.settings import AttributionSettings
from streams import attribution, prepare
from tests.oracle import oracle
from tests.pipeline import Body, in_order, rules_for_oracle, run
from tests.strategies import RULES
from tests.worlds import shuffled_with_duplicates, world

Tables = dict[str, list[tuple[Any, ...]]]


class Mutation(NamedTuple):
    """A mistake: for each piece of a module's source, what would stand there instead."""

    name: str
    pieces: dict[str, str]
    module: types.ModuleType = attribution


MUTATIONS = (
    Mutation(
        "the window's start is outside of it", {"named or first_us <= touched_us": "named or first_us < touched_us"}
    ),
    Mutation(
        "a delivery's reach begins after its start",
        {
            "if reached_us <= touched_us": "if reached_us < touched_us",
            "delivery_id), at_us - reach_us, last_us": "delivery_id), at_us - reach_us + 1, last_us",
        },
    ),
    Mutation(
        "a delivery is met inside the window only",
        {
            "first_us if delivery_id is None else at_us - reach_us": "first_us",
            "delivery_id), at_us - reach_us, last_us": "delivery_id), first_us, last_us",
        },
    ),
    Mutation(
        "whoever names a delivery meets everything as far back",
        {
            "if named or first_us <= touched_us": "if True",
            "(touches.of_model(model_id), first_us": (
                "(touches.of_model(model_id), first_us if delivery_id is None else at_us - reach_us"
            ),
        },
    ),
    Mutation(
        "the window's start is outside of it, among many",
        {"_FEW = 64": "_FEW = 1", "bisect_left(ordered, first_us": "bisect_right(ordered, first_us"},
    ),
    Mutation("no tolerance for whole seconds", {"return tolerance_us(source, self.whole_second_sources)": "return 0"}),
    Mutation(
        "ties break the other way",
        {"return (touch.at_us, touch.exposure_id)": "return (touch.at_us, [-ord(c) for c in touch.exposure_id])"},
    ),
    Mutation(
        "first touch instead of last",
        {'"last_touch": _last_touch': '"last_touch": _first_touch', "or rank > known": "or rank < known"},
    ),
    Mutation("of the few, a delivery narrows nothing", {"rank = (named, touched_us": "rank = (False, touched_us"}),
    Mutation("the cap keeps the earliest", {"inside[-rules.max_touches :]": "inside[: rules.max_touches]"}),
    Mutation("a delivery narrows nothing", {"if not candidates:": "if True:"}),
    Mutation("links are ignored", {"None if exposure_id is None else touches.named(exposure_id)": "None"}),
    Mutation(
        "a link counts inside the window only",
        {"explicit[0] == model_id:": "explicit[0] == model_id and first_us <= explicit[1].at_us <= last_us:"},
    ),
    Mutation(
        "an outcome is split over its models",
        {
            "_CREDITS[rules.credit_rule](candidates, at_us)": (
                "[share / len(touches.models) for share in _CREDITS[rules.credit_rule](candidates, at_us)]"
            )
        },
    ),
    Mutation("decay favours the old", {"2.0 ** (-(": "2.0 ** (+("}),
    Mutation("the middle shares too little", {"[_MIDDLE / (n - 2)]": "[_MIDDLE / n]"}),
    Mutation(
        "a holdout counts as shown",
        {"number_of(event) if event.shown": "number_of(event) if not event.fallback and not event.error"},
        prepare,
    ),
)


class Case(NamedTuple):
    """A world, the rules it is attributed under, and the oracle's tables."""

    bodies: list[Body]
    settings: AttributionSettings
    wanted: Tables


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    found = []
    for seed in range(3):
        for rule in RULES:
            rng = random.Random(f"{seed} {rule}")
            bodies = shuffled_with_duplicates(rng, world(rng, 120), 0.1)
            settings = AttributionSettings(credit_rule=rule, max_touches=(50, 2, 3)[seed])
            found.append(Case(bodies, settings, oracle(bodies, rules_for_oracle(settings))))
    return found


def differing(cases: list[Case], folder: Path) -> Iterator[str]:
    """What differs from the oracle, case by case."""
    for number, case in enumerate(cases):
        found = run(folder / str(number), case.bodies, case.settings, chunks=[20, 20])
        for table, rows in case.wanted.items():
            if found[table] != in_order(rows):
                yield f"{table} under {case.settings.credit_rule}"


def mutated(mutation: Mutation) -> str:
    """The module's source with the mistake in it."""
    source = inspect.getsource(mutation.module)
    for old, new in mutation.pieces.items():
        assert source.count(old) == 1, f"“{old}” occurs {source.count(old)} times: “{mutation.name}” has to follow"
        source = source.replace(old, new)
    return source


def bring_in(mutation: Mutation, patch: pytest.MonkeyPatch) -> None:
    """Put the mistake everywhere in `streams` where the module is used."""
    module = types.ModuleType(mutation.module.__name__)
    exec(compile(mutated(mutation), mutation.name, "exec"), module.__dict__)
    users = [importlib.import_module(f"streams.{found.name}") for found in pkgutil.iter_modules(streams.__path__)]
    replaced = 0
    for name, original in vars(mutation.module).items():
        if getattr(original, "__module__", None) != module.__name__ or not callable(original):
            continue
        if isinstance(original, type) and issubclass(original, msgspec.Struct):
            # What is stored decodes into the class that is there, so only what the class does is exchanged.
            for method, function in vars(vars(module)[name]).items():
                if inspect.isfunction(function) and not method.startswith("__"):
                    patch.setattr(original, method, function)
            continue
        for user in users:
            for alias, value in list(vars(user).items()):
                if value is original:
                    patch.setattr(user, alias, vars(module)[name])
                    replaced += user is not mutation.module
    assert replaced, f"nothing in streams uses {module.__name__}"


def test_without_a_mutation_nothing_differs(cases: list[Case], tmp_path: Path) -> None:
    assert not list(differing(cases, tmp_path))


def test_compiling_anew_alone_changes_nothing(
    cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a mutation might be caught for what the exchange of code breaks."""
    bring_in(Mutation("none", {}), monkeypatch)
    bring_in(Mutation("none", {}, prepare), monkeypatch)
    assert not list(differing(cases, tmp_path))


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mutation_is_caught(
    mutation: Mutation, cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring_in(mutation, monkeypatch)
    assert next(differing(cases, tmp_path), None), f"“{mutation.name}” went unnoticed"
