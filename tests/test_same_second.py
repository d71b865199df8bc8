"""Events stamped in whole seconds can seem to lie before their cause: credits, estimates and strip agree on them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis import analyse
from analysis.customers import customers
from analysis.estimates import Analysis
from analysis.frames import Outcomes, prepare
from analysis.metrics import Metric
from analysis.values import Crowd, Joining, Matcher, RepeatedMatcher, before_values
from edgeloop.clock import DAY_US, HOUR_US, SECOND_US, iso
from edgeloop.metrics import MetricSettings
from reports import strip
from tests.frames import LATER, MARCH, World, at

CARD = {"card_opened": MetricSettings(role="goal", headline=True, event="card_opened")}


def edgeloop(home: Path, *arguments: str) -> str:
    run = subprocess.run(
        [sys.executable, "-m", "edgeloop", *arguments, "--home", str(home)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_credits_and_uplift_of_one_home(tmp_path: Path) -> None:
    """Cards opened 0.4 s before (canary) or 0.6 s after (stable) their exposure, as Mixpanel stamps them."""
    exposures, opened = [], []
    for i in range(6):
        new, shown = i % 2 == 1, at(i, 8) + 400_000
        exposures.append(
            {"type": "exposure", "exposure_id": f"x-{i}", "customer_id": f"C-{i}", "occurred_at": iso(shown),
             "touchpoint": "card", "model_id": "eta", "model_version": "2.0" if new else "1.0",
             "arm": "canary" if new else "stable", "rollout_id": "eta-march"}
        )  # fmt: skip
        second = (shown + (0 if new else SECOND_US)) // SECOND_US
        opened.append({"event": "card_opened", "properties": {"time": second, "distinct_id": f"C-{i}",
                                                              "$insert_id": f"i{i}"}})  # fmt: skip
    for name, rows in (("exposures", exposures), ("opened", opened)):
        (tmp_path / f"{name}.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    home = tmp_path / "home"
    edgeloop(home, "ingest", str(tmp_path / "exposures.ndjson"))
    edgeloop(home, "ingest", "--from", "mixpanel", str(tmp_path / "opened.ndjson"))
    edgeloop(home, "process")
    sql = "SELECT model_version, count(*) AS n, sum(credit) AS credit FROM attributions GROUP BY 1 ORDER BY 1"
    credited = edgeloop(home, "sql", sql, "--csv").split()
    assert credited[1:] == ["1.0,3,3.0", "2.0,3,3.0"]
    rows: list[dict[str, Any]] = json.loads(edgeloop(home, "uplift", "--month", "2026-03", "--json"))
    (told,) = [row for row in rows if row["metric"] == "card_opened" and row["dimension"] == "all"]
    assert (told["control"], told["treated"], told["n_treated"]) == (1.0, 1.0, 3)
    assert "0 and 0 people without the event" in told["reason"]


def faster(seed: int = 3, n: int = 3_000) -> dict[str, pd.DataFrame]:
    """Two in five open the card: within a second of the new version, within four of the old one; whole seconds."""
    rng = np.random.default_rng(seed)
    world = World()
    for i in range(n):
        new = rng.random() < 0.5
        shown = at(14 * rng.random())
        day = (shown - at()) / DAY_US
        world.expose(f"s{i}", day, "canary" if new else "stable")
        shown = world.rows["exposures"][-1]["occurred_at"]
        if rng.random() < 0.4:
            lag = rng.uniform(0.2, 1.0) if new else rng.uniform(0.2, 4.0)
            world.engage(f"s{i}", 0, "card_opened", source="mixpanel")
            world.rows["engagement"][-1]["occurred_at"] = (shown + round(lag * SECOND_US)) // SECOND_US * SECOND_US
    return world.tables()


def analysed(tables: dict[str, pd.DataFrame], **options: Any) -> Analysis:
    return analyse(tables, MARCH, freeze_id="f", as_of_us=LATER, **({"metrics": CARD} | options))


def test_a_version_that_is_only_faster_is_not_rolled_back() -> None:
    tables = faster()
    (row,) = analysed(tables).estimates[:1]
    assert row.verdict != "roll back"
    assert row.effect == pytest.approx(0.0, abs=0.06)
    assert row.estimator == "difference_in_means", "what was tolerated is no history"
    without = analysed(tables, whole_second_sources=()).estimates[0]
    assert without.verdict == "repair the data first", "what was known before differs, where nothing is tolerated"


def outcomes(moments: list[int], coarse: list[bool], person: list[int] | None = None) -> Outcomes:
    world = World()
    for i, (moment, rough) in enumerate(zip(moments, coarse, strict=True)):
        world.engage(f"s{(person or [0] * len(moments))[i]}", 0, "card", source="mixpanel" if rough else "app")
        world.rows["engagement"][-1]["occurred_at"] = moment
    for name in ("s0", "s1", "s2"):
        world.expose(name, 0)
    return prepare(world.tables()).engagement


def crowd(person: list[int], moments: list[int]) -> Crowd:
    n = len(person)
    zeros = np.zeros(n, dtype=np.int64)
    return Crowd(np.array(person), np.array(moments), zeros, np.arange(n), zeros.astype(bool), zeros, LATER, False, n)


@pytest.mark.parametrize("kind", [Matcher, RepeatedMatcher])
@pytest.mark.parametrize(
    ("from_us", "to_us"),
    [(0, HOUR_US), (-HOUR_US, -1), (-SECOND_US, -1), (-HOUR_US, 0), (0, 0), (-(1 << 62), 0), (-500_000, HOUR_US),
     (SECOND_US, HOUR_US), (-HOUR_US, -500_000), (-HOUR_US, -2 * SECOND_US)],
)  # fmt: skip
def test_both_joins_against_every_pair(kind: type[Joining], from_us: int, to_us: int) -> None:
    """A coarse stamp at most a second before an entry counts as of the entry; every other as it stands."""
    rng = np.random.default_rng(7)
    stamps = [at() + int(k) * 250_000 for k in rng.integers(-12, 12, 40)]
    coarse = (rng.random(40) < 0.5).tolist()
    people = [0, 1, 2] if kind is Matcher else [0, 0, 1, 1, 1, 2]
    entered = [at() + int(k) * 250_000 for k in rng.integers(-4, 4, len(people))]
    who = [int(p) for p in rng.integers(0, 3, 40)]
    frame, own = outcomes(stamps, coarse, who), crowd(people, entered)
    found = kind(own, 3).of(frame, "card", from_us, to_us)  # type: ignore[call-arg]
    pairs = sorted(zip(found[0].tolist(), found[1].tolist(), strict=True))
    wanted = []
    for row in range(len(frame.at)):
        for position in range(len(people)):
            if frame.person[row] != people[position]:
                continue
            lag = int(frame.at[row]) - entered[position]
            if frame.coarse[row] and -SECOND_US <= lag < 0:
                lag = 0
            if from_us <= lag <= to_us:
                wanted.append((row, position))
    assert pairs == wanted


def test_what_is_tolerated_is_not_before() -> None:
    """Neither in the covariate, nor as a history: the same event of a source with exact stamps is both."""
    metric = Metric("card", "proportion", "share", "card", DAY_US)
    found = {}
    for source in ("mixpanel", "app"):
        world = World()
        for name in ("s0", "s1"):
            world.expose(name, 1.0)
            world.engage(name, 1.0, "card", source=source)
            world.rows["engagement"][-1]["occurred_at"] -= 400_000
        frames = prepare(world.tables())
        own = crowd([0, 1], frames.exposures.at.tolist())
        before = before_values(frames, Matcher(own, 2), metric, own.at)
        assert before is not None
        found[source] = (before[0].tolist(), before[1].tolist())
    assert found == {"mixpanel": ([0.0, 0.0], [False, False]), "app": ([1.0, 1.0], [True, True])}


def test_the_strip_has_the_tolerance_too() -> None:
    tables = faster(n=400)
    shares = []
    for sources in (("mixpanel",), ()):
        made = strip._Conversions(tables["exposures"], tables["engagement"], "card_opened", DAY_US, sources)
        found = made.of(MARCH.start_us, MARCH.end_us, LATER)
        assert found is not None
        shares.append(found[0])
    x, e = tables["exposures"], tables["engagement"]
    opened = x["subject"].isin(set(e["subject"]))
    assert shares[0] == pytest.approx(opened.mean())
    assert shares[1] < shares[0] - 0.05
    assert customers(x).all()
