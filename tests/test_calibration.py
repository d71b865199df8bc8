"""Short forms of `benchmarks.calibration`: a few hundred data sets of each kind, and proof that a wrong variance shows.

The full counts are in docs/calibration.md. Here a share holds while chance alone could have brought it from the
required band: it fails where a right procedure would be as far off once in 100,000 runs. Seeds are fixed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from scipy import stats

from analysis.lift import Sample
from benchmarks.calibration import (
    SEED,
    arms,
    daily_looks,
    inside,
    months,
    pack,
    ramp,
    record,
    run,
    survey,
    switches,
    zones,
)
from benchmarks.calibration.page import MISSES, MISSES_BY_CHANCE, missed, page, tables
from benchmarks.calibration.scenario import Scenario, Tally, Target, coverage, false_alarms, measured, merge, percent
from benchmarks.calibration.verdicts import CHANGES, SIZES, daily, month_end

CHANCE = 1e-5
ALL = run.scenarios()
FIGURES = ("means", "means_canary", "money", "events", "csat_canary", "nps", "events_cuped_0.5", "couriers")
CUPED = ("means_cuped_0.9", "money_cuped_0.5", "couriers_cuped")
SETS = 600
COVERS, ALARMS = coverage(10_000), false_alarms(10_000)


def tally(name: str, sets: int) -> Tally:
    """So many data sets from the generator of the full run's first piece."""
    scenario = ALL[name]
    return scenario.run(scenario.generator(0), sets)


def share(found: Tally, key: str) -> tuple[float, int]:
    """(measured, trials)."""
    told = measured(found[key])
    assert told is not None
    return told[0], round(found[key].d)


def by_chance(target: Target, figure: tuple[float, int]) -> bool:
    """Whether so many trials of a procedure inside the target could have given the figure."""
    measured_share, n = figure
    low = stats.binom.ppf(CHANCE, n, max(target.low, 0.0)) / n
    high = stats.binom.isf(CHANCE, n, min(target.high, 1.0)) / n
    return bool(low <= measured_share <= high)


@contextmanager
def wrong_variance(factor: float) -> Iterator[None]:
    """Every arm's variance so many times what it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Sample, "mean_var", property(lambda s: factor * s.var / s.n))
        yield


@pytest.mark.parametrize("name", [*FIGURES, *CUPED])
def test_fixed_intervals_cover_and_tests_keep_their_level(name: str) -> None:
    found = tally(name, SETS)
    for row in ALL[name].rows:
        assert by_chance(ALARMS if row.key == "aa" else COVERS, share(found, row.key)), row.what


@pytest.mark.parametrize("factor", [0.5, 3.0])
@pytest.mark.parametrize("name", ["means", "events", "csat_canary", "couriers", "means_cuped_0.9"])
def test_a_wrong_variance_would_fail(name: str, factor: float) -> None:
    with wrong_variance(factor):
        found = tally(name, SETS)
    assert not by_chance(COVERS, share(found, "effect"))
    assert not by_chance(ALARMS, share(found, "aa"))


@pytest.mark.parametrize("name", [s.name for s in inside.SCENARIOS if not s.name.endswith("_whole")])
def test_people_inside_clusters_and_strata(name: str) -> None:
    found = tally(name, 20 if "daily" in name else 150)
    targets = {
        "effect": COVERS,
        "aa": ALARMS,
        "varying": ALARMS,
        "alarm": Target(0.0, 0.05),
        "inside": Target(0.0, 0.001),
    }
    for row in ALL[name].rows:
        if row.target is not None:
            assert by_chance(targets[row.key], share(found, row.key)), row.what


def test_latency_and_interactions() -> None:
    for name, sets in (("latency", 200), ("interaction", SETS)):
        found = tally(name, sets)
        for row in ALL[name].rows:
            assert by_chance(ALARMS if row.key in ("aa", "share") else COVERS, share(found, row.key)), row.what


@pytest.mark.parametrize("name", [s.name for s in daily_looks.SCENARIOS if "pack" not in s.name])
def test_daily_looks_raise_few_alarms(name: str) -> None:
    found = tally(name, 150)
    assert by_chance(Target(0.0, 0.05), share(found, "alarm"))


def test_daily_looks_with_a_wrong_variance_would_fail() -> None:
    with wrong_variance(0.3):
        found = tally("daily_money_canary", 150)
    assert not by_chance(Target(0.0, 0.05), share(found, "alarm"))


def test_the_fixed_test_looked_at_daily_alarms_too_often() -> None:
    figure = share(tally("daily_means", 400), "naive")
    assert figure[0] > stats.binom.isf(CHANCE, figure[1], 0.05) / figure[1]


@pytest.mark.parametrize("name", ["staged", "staged_one", "panel", "switchback", "switch_fortnight", "switch_beside"])
def test_zones_and_switches(name: str) -> None:
    found = tally(name, 25 if name.startswith("switch") else 200)
    assert by_chance(Target(0.03, 0.07), share(found, "aa"))
    assert by_chance(Target(0.93, 0.97), share(found, "effect"))


def test_few_zones_get_no_p() -> None:
    assert share(tally("staged_none", 10), "silent") == (1.0, 20)


def test_a_ramp_does_not_alarm_and_pooling_it_would() -> None:
    found = tally("ramp", 5)
    for key in ("srm", "srm_combined", "pre_period", "pre_period_deciding"):
        assert share(found, key)[0] == 0.0
    for metric in ramp.METRICS:
        assert by_chance(Target(0.03, 0.07), share(found, metric))
    assert share(found, "pooled")[0] >= 0.3


def test_weights_take_out_what_covariates_know() -> None:
    found = tally("survey", 250)
    assert by_chance(COVERS, share(found, "effect"))
    assert by_chance(ALARMS, share(found, "aa"))
    assert share(found, "plain")[0] < 0.8
    told = measured(found["bias"])
    assert told is not None
    assert told[1][0] <= 0.1
    assert told[1][1] >= -0.1
    assert told[1][1] - told[1][0] < 0.3


def test_bounds_and_the_tipping_point_hold_where_the_answer_decides() -> None:
    found = tally("survey_unknown", 100)
    for key in ("outer", "tips"):
        assert by_chance(Target(0.95, 1.0), share(found, key))
    assert share(found, "bias")[0] > 0.5
    assert share(found, "misled")[0] > 0.5


def test_the_bridge_sums_and_its_bars_cover() -> None:
    found = tally("bridge", 100)
    assert share(found, "identity")[0] == 1.0
    assert by_chance(Target(0.93, 0.97), share(found, "bars"))
    with wrong_variance(0.3):
        assert not by_chance(Target(0.93, 0.97), share(tally("bridge", 100), "bars"))


def test_verdicts_of_changes_that_nobody_could_miss() -> None:
    large = next(s for s in SIZES if s.key == "large")
    found = month_end(np.random.default_rng([SEED, 1]), 10, size=large)
    assert share(found, "conversion-0.2:right") == (1.0, 10)
    assert share(found, "conversion+0.2:right") == (1.0, 10)
    assert share(found, "budget:right") == (1.0, 10)
    harmful = sum(c.truth == "harms" for c in CHANGES)
    assert by_chance(Target(0.0, 0.01), share(found, "harms"))
    assert share(found, "harms")[1] == 10 * harmful
    for change in CHANGES:
        parts = [share(found, f"{change.key}:{name}")[0] for name in ("right", "wrong", "undecided")]
        assert sum(parts) == pytest.approx(1.0)


def test_verdicts_daily_never_promote_what_nobody_could_miss() -> None:
    large = next(s for s in SIZES if s.key == "large")
    found = daily(np.random.default_rng([SEED, 2]), 2, size=large)
    assert share(found, "conversion-0.2:promoted")[0] == 0.0
    assert share(found, "budget:promoted")[0] == 0.0


def test_changes_that_do_nothing_would_be_acted_on_with_a_wrong_variance() -> None:
    large = next(s for s in SIZES if s.key == "large")
    with wrong_variance(0.02):
        found = month_end(np.random.default_rng([SEED, 3]), 10, size=large)
    assert not by_chance(Target(0.0, 0.05), share(found, "conversion+0:wrong"))


def test_a_trial_has_what_it_was_asked_for() -> None:
    effects = {"conversion": 0.1, "complaint": 0.5, "csat": -0.3, "over_budget": 0.02, "error_rate": 0.01}
    drawn = pack.trial(np.random.default_rng(1), 4_000_000, effects=effects)
    figure = {name: rows[-1][:, 1] / rows[-1][:, 3] for name, rows in drawn.sums.items()}
    assert figure["conversion"] == pytest.approx([pack.CONVERSION, 1.1 * pack.CONVERSION], rel=0.01)
    assert figure["complaint"] == pytest.approx([pack.COMPLAINT, 1.5 * pack.COMPLAINT], rel=0.03)
    assert figure["csat"][1] - figure["csat"][0] == pytest.approx(-0.3, abs=0.02)
    assert figure["over_budget"] == pytest.approx([pack.OVER_BUDGET, pack.OVER_BUDGET + 0.02], rel=0.02)
    assert figure["error_rate"] == pytest.approx([pack.ERROR, pack.ERROR + 0.01], rel=0.03)
    assert figure["slot_rebooked"] == pytest.approx([pack.REBOOKED, pack.REBOOKED], rel=0.02)


def test_the_seed_is_the_one_that_was_fixed() -> None:
    assert SEED == 20_261_124


def test_every_scenario_has_a_name_of_its_own_and_what_it_requires() -> None:
    groups = [s.name for group in run.GROUPS for s in group.SCENARIOS]
    assert len(set(groups)) == len(groups) == len(ALL)
    assert all(len({row.key for row in s.rows}) == len(s.rows) for s in ALL.values())
    assert {arms, daily_looks, ramp, zones, switches, survey, months} < set(run.GROUPS)
    assert all(any(row.target is not None for row in s.rows) for s in ALL.values() if s.name not in UNHELD)


UNHELD = {
    "switchback_turns", "total_failure", "a_fifth_fails", "well", "nearly_well",
    *(f"inside_shares_{n}_whole" for n in (15, 30, 60)),
}  # fmt: skip
"""Shown for what they cost."""


def test_pieces_make_the_same_run_in_any_order() -> None:
    scenario = ALL["csat"]
    pieces = [scenario.run(scenario.generator(i), 20) for i in (0, 1, 2)]
    again = [scenario.run(scenario.generator(i), 20) for i in (2, 0, 1)]
    assert merge(pieces) == merge([again[1], again[2], again[0]])
    assert measured(merge(pieces)["aa"]) == measured(merge(again)["aa"])


def test_wilson_and_targets() -> None:
    found = measured(sum_of([1.0] * 8 + [0.0] * 2))
    assert found is not None
    assert found[0] == 0.8
    assert found[1] == pytest.approx(tuple(stats.binomtest(8, 10).proportion_ci(method="wilson")), abs=1e-6)
    assert Target(0.94, 0.96).holds(0.94, (0.9, 1.0))
    assert not Target(0.94, 0.96).holds(0.9399, (0.9, 1.0))
    assert Target(0.0, 0.001, at_most=True).holds(0.002, (0.0009, 0.01))
    assert not Target(0.0, 0.001, at_most=True).holds(0.002, (0.0011, 0.01))
    assert percent(0.9483) == "94.83 %"


def sum_of(values: list[float]) -> pack.Moments:
    found: Tally = {}
    for value in values:
        found = merge([found, {"a": pack.Moments(1, value, value * value, 1.0, 1.0, value)}])
    return found["a"]


def test_a_figure_that_misses_is_marked_and_named() -> None:
    scenario: Scenario = ALL["csat"]

    def figures(shares: dict[str, float], width: float) -> dict[str, record.ScenarioFigures]:
        rows = {k: record.Figure(v * 1e4, 1e4, 10_000, v, v - width, v + width) for k, v in shares.items()}
        return {scenario.name: record.ScenarioFigures(10_000, 1.0, rows)}

    assert missed(figures({"effect": 0.95, "aa": 0.05}, 0.004)) == []
    off = figures({"effect": 0.93, "aa": 0.061}, 0.004)
    assert len(missed(off)) == 2
    lines = {line.split(" | ")[0]: line for line in tables(off).splitlines()}
    effect, aa = (lines[f"| {row.what}"] for row in scenario.rows)
    assert effect.endswith(f"{MISSES} |")
    assert aa.endswith(f"{MISSES_BY_CHANCE} |")
    assert len(missed(figures({"effect": 0.95}, 0.004))) == 1  # a row of which nothing counted


def test_the_page_is_the_record_of_runs() -> None:
    made = record.runs()
    assert record.PAGE.read_text(encoding="utf-8") == page(made)
    assert {r.seed for r in made} == {SEED}
    assert set(ALL) == {name for r in made for name in r.figures}


def test_a_run_is_read_as_it_was_written(tmp_path) -> None:
    found = run.Measured(ALL["csat"], 30, tally("csat", 30), 0.5)
    made = record.Run.of([found], "a commit")
    record.append(made, tmp_path / "runs")
    record.append(made, tmp_path / "runs")
    assert record.runs(tmp_path / "runs") == [made, made]
    assert json.loads((tmp_path / "runs").read_text().splitlines()[0])["seed"] == SEED
