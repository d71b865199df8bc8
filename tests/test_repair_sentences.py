"""What has to be repaired is said by its counts and its cause: silent arms, arms as keys, a change turned round."""

from __future__ import annotations

from typing import Any

from analysis import Analysis, analyse
from edgeloop.store import facts
from reports import reasons
from tests.frames import LATER, MARCH, World, together, trial


def run(*, only: str | None = None, share: float = 0.5, **declared: Any) -> Analysis:
    """A drawn trial of 2,000 people; ``only``: the one version whose exposures arrive."""
    world = World()
    world.declare(assignment="random", **{"allocation": {"v1": 0.5, "v2": 0.5}, **declared})
    tables = together(trial(7, n=2_000, share=share, event=(0.2, 0.3)), world.tables())
    x = tables["exposures"].sort_values("occurred_at", ignore_index=True)
    tables["exposures"] = x if only is None else x[x["model_version"] == only].reset_index(drop=True)
    return analyse(tables, MARCH, freeze_id="f", as_of_us=LATER)


def test_an_arm_of_which_nothing_arrived_is_named_with_the_counts() -> None:
    (fact,) = [f for f in run(only="v1").rulings["c0"].because if isinstance(f, facts.SampleRatio)]
    assert fact.silent == ("v2",)
    (old, new) = fact.seen
    assert (old[0], old[2]) == ("v1", 0.5)
    assert new == ("v2", 0, 0.5)
    said = reasons.said(fact)
    assert said.startswith("no exposure of v2 arrived; customers are not shared out")
    assert f"{old[1]:,} with v1 (100.0" in said
    assert "planned 50.0" in said


def test_weights_keyed_by_the_arms_are_read_as_those_of_their_versions() -> None:
    found = run(share=0.1, allocation={"stable": 0.9, "canary": 0.1})
    assert found.changes[0].stages[0].allocation == {"v1": 0.9, "v2": 0.1}
    assert [c.state for c in found.checks if c.check == "srm"] == ["ok"]
    unlike = run(share=0.1, allocation={"stable": 0.9, "beta": 0.1})  # no arm of that name
    assert unlike.changes[0].stages[0].allocation == {"stable": 0.9, "beta": 0.1}
    assert unlike.rulings["c0"].verdict == "repair the data first"


def test_a_change_declared_the_wrong_way_round_is_said_to_be_so_and_found_once() -> None:
    found = run(from_version="v2", to_version="v1")
    assert [(c.from_version, c.to_version) for c in found.changes] == [("v2", "v1")]
    assert [c.state for c in found.checks if c.check == "turned_round"] == ["block"]
    ruled = found.rulings["c0"]
    assert ruled.verdict == "repair the data first"
    assert ruled.because[0] == facts.TurnedRound("v2", "v1")
    assert reasons.said(ruled).startswith("the declaration says from v2 to v1, but the stable arm carries v1")
    assert not [c for c in run().checks if c.check == "turned_round"]
