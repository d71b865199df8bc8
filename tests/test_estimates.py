"""From tables to rows: the estimate, its verdict and its reason, on small drawn trials and on real data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

import analysis
from analysis import ALL_METRICS, Analysis, analyse
from analysis.effects import Result
from analysis.lift import compare, mean_sample
from analysis.moments import cells, total
from edgeloop.clock import DAY_US
from edgeloop.metrics import MetricSettings
from edgeloop.months import Month
from edgeloop.store.facts import Few
from edgeloop.store.rows import Estimate
from tests.frames import COLUMNS, LATER, MARCH, World, at, frames, together, trial

HILLSTROM = Path(__file__).parents[1].parent / "shared" / "data" / "hillstrom.csv"


def run(tables: Mapping[str, pd.DataFrame], month: Month = MARCH, as_of_us: int = LATER, **options: Any) -> Analysis:
    return analyse(tables, month, freeze_id="freeze", as_of_us=as_of_us, **{"metrics": {}, **options})


LESS_IS_BETTER = {"metrics": {"rebooked": MetricSettings(role="goal", event="rebooked", direction="down")}}


def declared(*stages: dict[str, Any]) -> dict[str, pd.DataFrame]:
    world = World()
    for stage in stages or ({},):
        world.declare(**stage)
    return world.tables()


def only(found: Analysis, metric: str = "rebooked", stage: int = 1) -> Estimate:
    row, *beside = [r for r in found.estimates if (r.metric, r.stage) == (metric, stage)]
    assert all((r.reason or "").startswith("unweighted: the weighted figure decides") for r in beside)
    return row


@pytest.fixture(scope="module")
def hillstrom() -> dict[tuple[str, str], Estimate]:
    data = pd.read_csv(HILLSTROM)
    arms = {"No E-Mail": ("stable", "none"), "Mens E-Mail": ("mens", "mens"), "Womens E-Mail": ("womens", "womens")}
    subject = "h" + data.index.astype(str)
    exposures = pd.DataFrame(
        {"exposure_id": subject, "subject": subject, "occurred_at": at(1), "model_id": "mail", "rollout_id": "2008",
         "arm": data["segment"].map(lambda s: arms[s][0]), "anonymous": 0,
         "model_version": data["segment"].map(lambda s: arms[s][1])}
    )  # fmt: skip
    events = []
    for name, column, value in (("visit", "visit", None), ("conversion", "conversion", "spend")):
        did = data[column] == 1
        spent = data.loc[did, value].to_numpy() if value else np.nan
        event = {"event_id": name + subject[did], "subject": subject[did], "occurred_at": at(3), "name": name}
        events.append(pd.DataFrame(event | {"value": spent, "anonymous": 0}))
    tables = frames() | {
        "exposures": exposures.reindex(columns=list(COLUMNS["exposures"])),
        "engagement": pd.concat(events).reindex(columns=list(COLUMNS["engagement"])),
    }
    return {(r.to_version, r.metric): r for r in run(tables).estimates}


@pytest.mark.skipif(not HILLSTROM.is_file(), reason="hillstrom.csv is not here")
class TestHillstrom:
    """64,000 real customers, drawn into three arms: a campaign's start, then what they did within 72 hours."""

    def test_spend_mens_against_none_to_all_digits(self, hillstrom: dict[tuple[str, str], Estimate]) -> None:
        row = hillstrom["mens", "conversion:value"]
        assert (row.n_control, row.n_treated, row.control_arm, row.treated_arm) == (21_306, 21_307, "stable", "mens")
        figures = [row.effect, row.se, row.effect_low, row.effect_high, row.lift, row.lift_low, row.lift_high]
        assert [f"{x:.8f}" for x in figures] == [
            "0.76982716", "0.14524656", "0.48513973", "1.05451458", "1.17928877", "0.62843211", "1.91648606",
        ]  # fmt: skip
        assert f"{row.p:.4e}" == "1.1638e-07"

    @pytest.mark.parametrize(
        ("version", "metric", "control", "treated"),
        [
            ("mens", "visit", "10.62", "18.28"),
            ("womens", "visit", "10.62", "15.14"),
            ("mens", "conversion", "0.573", "1.253"),
            ("womens", "conversion", "0.573", "0.884"),
        ],
    )
    def test_shares(
        self, hillstrom: dict[tuple[str, str], Estimate], version: str, metric: str, control: str, treated: str
    ) -> None:
        row = hillstrom[version, metric]
        assert row.control is not None
        assert row.treated is not None
        digits = len(control.split(".")[1])
        assert (f"{100 * row.control:.{digits}f}", f"{100 * row.treated:.{digits}f}") == (control, treated)

    def test_everybody_entered_at_one_moment_so_nothing_is_decided(
        self, hillstrom: dict[tuple[str, str], Estimate]
    ) -> None:
        assert {row.verdict for row in hillstrom.values()} == {"keep testing"}
        assert all("1 of 7 full entry days" in (row.reason or "") for row in hillstrom.values())


class TestVerdicts:
    @pytest.mark.parametrize(
        ("planted", "options", "verdict", "words"),
        [
            ({}, {}, "keep testing", "no clear change"),
            ({"event": (0.2, 0.3)}, {}, "promote", "better: the deciding interval lies wholly above 0"),
            ({"event": (0.3, 0.2)}, {}, "roll back", "worse: the deciding interval lies wholly below 0"),
            ({"event": (0.3, 0.2)}, LESS_IS_BETTER, "promote", "below 0, and less is better"),
            ({"event": (0.2, 0.3)}, LESS_IS_BETTER, "roll back", "above 0, and less is better"),
            ({"event": (0.2, 0.3), "days": 6.9}, {}, "keep testing", "not enough data: 6 of 7 full entry days"),
            ({"event": (0.001, 0.02), "n": 3_000}, {}, "keep testing", "not enough data"),
        ],
    )
    def test_of_one_metric(self, planted: dict[str, Any], options: dict[str, Any], verdict: str, words: str) -> None:
        row = only(run(trial(7, **planted), **options))
        assert row.verdict == verdict
        assert words in (row.reason or "")
        few = isinstance(row.facts[0], Few)  # of too few events neither an interval nor a p would hold
        assert (row.decision_low is None, row.p is None, row.effect_low is None) == (few, few, few)
        assert row.decided_by == (None if words.startswith("not enough data") else "always_valid")

    def test_the_fixed_interval_decides_once_the_plan_is_reached(self) -> None:
        trial_of = {"event": (0.2, 0.225), "n": 8_000}
        before = only(run(together(trial(7, **trial_of), declared({"planned_units": 20_000}))))
        after = only(run(together(trial(7, **trial_of), declared({"planned_units": 6_000}))))
        assert (before.decided_by, after.decided_by) == ("always_valid", "fixed")
        assert (after.decision_low, after.decision_high) == pytest.approx((after.effect_low, after.effect_high))
        assert (before.decision_low, before.decision_high) == pytest.approx((before.always_low, before.always_high))
        assert (before.always_low or 0) < (after.always_low or 0), "the plan is where the interval is narrowest"
        assert after.p_adjusted == after.p

    def test_clicks_up_and_satisfaction_down_is_rolled_back(self) -> None:
        found = run(trial(3, event=(0.2, 0.3), score=(4.0, 3.5), days=20))
        assert {row.verdict for row in found.estimates} == {"roll back"}
        assert (only(found).reason or "").startswith("better")
        assert (only(found, "csat/overall").reason or "").startswith("worse")

    def test_satisfaction_cannot_decide_before_its_own_windows_are_full(self) -> None:
        """A fortnight's window: eight days after the start of entries nobody's is, three weeks after they are."""
        tables = trial(3, event=(0.2, 0.2), score=(4.0, 3.0), days=20)
        early, late = run(tables, as_of_us=at(18)), run(tables, as_of_us=at(22))
        assert "4 of 7" not in (only(early).reason or "")
        assert "of 7 full entry days" in (only(early, "csat/overall").reason or "")
        assert "roll back" not in {r.verdict for r in early.estimates}
        assert {r.verdict for r in late.estimates} == {"roll back"}

    def test_repair_comes_before_everything(self) -> None:
        tables = together(trial(7, event=(0.2, 0.3)), declared({"allocation": {"v1": 6, "v2": 4}}))
        row = only(run(tables))
        assert row.verdict == "repair the data first"
        assert (row.reason or "").startswith("repair the data first: units are not shared out as declared (p = ")
        assert row.grade == "quasi"
        assert row.srm_p is not None
        assert row.srm_p < 1e-9
        assert row.effect is not None, "the figures stay to be seen"

    def test_a_share_that_drifts_is_repaired_too(self) -> None:
        found = run(together(trial(1, share=0.5, days=7), trial(2, share=0.43, start=7, days=7, prefix="t")))
        assert only(found).verdict == "repair the data first"
        assert "share changes from day to day" in (only(found).reason or "")

    def test_goals_of_a_month_are_one_family(self) -> None:
        """One event alone is clear; among twenty others, none of which moves, it is not."""
        alone = together(trial(2, event=(0.2, 0.235)), declared({"planned_units": 4_000}))
        names = [f"other{i:02d}" for i in range(20)]
        rng = np.random.default_rng(9)
        noise = [
            {"event_id": f"n{name}{s}", "subject": s, "occurred_at": t + 1, "name": name, "anonymous": 0}
            for name in names
            for s, t in alone["exposures"][["subject", "occurred_at"]][rng.random(4_000) < 0.2].itertuples(index=False)
        ]
        among = dict(alone) | {"engagement": pd.concat([alone["engagement"].astype(object), pd.DataFrame(noise)])}
        one, many = only(run(alone)), only(run(among))
        assert one.p == many.p
        assert one.p_adjusted == one.p
        assert (many.p_adjusted or 0) > 10 * (many.p or 0)
        assert (one.p_adjust, many.p_adjust) == ("benjamini-hochberg", "benjamini-hochberg")
        assert (one.verdict, many.verdict) == ("promote", "keep testing")
        assert (many.decision_low or 0) < 0 < (one.decision_low or 0)
        assert (one.effect_low, one.effect_high) == (many.effect_low, many.effect_high)

    def test_words_and_deciding_interval_agree_on_every_row(self) -> None:
        for seed in range(12):
            rng = np.random.default_rng(seed)
            shift = rng.uniform(-0.08, 0.08)
            found = run(
                trial(seed, n=1_500, days=20, event=(0.3, 0.3 + shift), spend=(10, 10), score=(3, 3 + 5 * shift))
            )
            deciding = [r for r in found.estimates if r.estimator != "ratio"]
            assert len(deciding) == 3
            for row in deciding:
                if isinstance(row.facts[0], Few):
                    assert row.decision_low is None
                    continue
                assert row.decision_low is not None
                assert row.decision_high is not None
                excludes = not row.decision_low <= 0 <= row.decision_high
                if row.decided_by is None:
                    assert row.p_adjusted is None
                    assert (row.reason or "").startswith("not enough data: ")
                else:
                    assert row.p_adjusted is not None
                    assert excludes == (row.p_adjusted <= 0.05)
                    assert (row.reason or "").startswith(("better", "worse") if excludes else "no clear change")


class TestStages:
    def ramp(self) -> dict[str, pd.DataFrame]:
        """5 % in a quiet week, 50 % in a busy one, and a version that does nothing."""
        return together(
            trial(1, n=6_000, share=0.05, days=9, event=(0.1, 0.1)),
            trial(2, n=6_000, share=0.5, start=9, days=11, event=(0.3, 0.3), prefix="t"),
            declared({"day": 0, "allocation": {"v1": 95, "v2": 5}}, {"day": 9, "allocation": {"v1": 1, "v2": 1}}),
        )

    def test_are_rows_of_their_own_and_never_pooled(self) -> None:
        tables = self.ramp()
        found = run(tables)
        first, main = only(found, stage=1), only(found, stage=2)
        assert first.p is not None
        assert first.p > 0.01
        assert main.p is not None
        assert main.p > 0.01
        assert main.verdict == "keep testing"
        new = tables["exposures"]["arm"] == "canary"
        did = tables["exposures"]["subject"].isin(tables["engagement"]["subject"]).astype(float)
        pooled = compare(*(mean_sample(total(cells(y, np.ones(len(y)), np.zeros(len(y), int), 1)))
                           for y in (did[~new].to_numpy(), did[new].to_numpy())))  # fmt: skip
        assert pooled.p is not None
        assert pooled.p < 1e-6, "what pooling would have said"

    def test_the_main_one_decides(self) -> None:
        first, main = (only(run(self.ramp()), stage=stage) for stage in (1, 2))
        assert (first.verdict, first.p_adjusted, first.decided_by, first.decision_low) == (None, None, None, None)
        assert (first.reason or "").startswith("shown on its own: the verdict rests on stage 2")
        assert main.p_adjusted is not None
        assert main.decided_by == "fixed"

    def test_the_main_one_has_the_largest_n_t_n_c_of_complete_units(self) -> None:
        """At day 11 the second stage has as yet few complete units: the first one decides."""
        found = run(self.ramp(), as_of_us=at(12.1))
        assert only(found, stage=1).verdict is not None
        assert only(found, stage=2).verdict is None

    def test_a_wrong_ratio_in_any_stage_is_repaired(self) -> None:
        tables = self.ramp()
        tables["changes"].loc[0, "allocation"] = '{"v1": 0.8, "v2": 0.2}'
        assert only(run(tables), stage=2).verdict == "repair the data first"


class TestKindsOfChange:
    def test_several_versions_each_against_the_stable_arm(self) -> None:
        both = together(trial(1, event=(0.2, 0.3)), trial(2, event=(0.2, 0.1), prefix="t"))
        second = both["exposures"]["subject"].str.startswith("t") & (both["exposures"]["arm"] == "canary")
        both["exposures"].loc[second, ["model_version", "arm"]] = ["v3", "red"]
        rows = {row.to_version: row for row in run(both).estimates}
        assert {version: row.verdict for version, row in rows.items()} == {"v2": "promote", "v3": "roll back"}
        assert rows["v2"].n_control == rows["v3"].n_control
        assert rows["v2"].control == rows["v3"].control

    def test_a_switch_with_few_days_before_it_has_figures_and_no_p(self) -> None:
        old, new = (
            trial(1, share=0.0, rollout_id=None),
            trial(2, share=1.0, start=14, event=(0, 0.3), rollout_id=None, prefix="t"),
        )
        switch = declared({"day": 14, "kind": "switch", "rollout_id": None, "ended_at": at(28)})
        row = only(run(together(old, new, switch)))
        assert (row.estimator, row.grade, row.verdict) == ("structural_time_series", "before_after", "keep testing")
        assert (row.control_arm, row.treated_arm) == ("before", "after")
        assert row.control == pytest.approx(0.2, abs=0.03)
        assert row.treated == pytest.approx(0.3, abs=0.03)
        assert (row.p, row.decided_by) == (None, None)
        assert "nobody kept the old version" in (row.reason or "")
        assert "days" in (row.reason or "")
        assert "better" not in (row.reason or "")

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"unit": "zone"}, "nothing to compare"),
            ({"assignment": "chosen"}, "chosen, not drawn"),
            ({"rollout_id": None, "to_version": "v9"}, "no rollout_id"),
        ],
    )
    def test_a_refusal_is_one_row_that_says_why(self, change: dict[str, Any], words: str) -> None:
        found = run(together(trial(), declared(change)))
        (row,) = [r for r in found.estimates if r.change_id == "c0"]
        assert row.metric == ALL_METRICS
        assert words in (row.reason or "")
        assert (row.effect, row.verdict, row.grade, row.p) == (None, "keep testing", None, None)

    def test_arms_that_nobody_named_are_refused(self) -> None:
        tables = together(trial(), declared())
        tables["exposures"]["arm"] = None
        (row,) = run(tables).estimates
        assert row.effect is None
        assert "not labelled" in (row.reason or "")
        tables["changes"]["assignment"] = "random"
        assert only(run(tables)).effect is not None

    def test_the_controls_of_another_rollout_are_no_control(self) -> None:
        """LaLonde's mistake: comparing a trial's treated with whoever else there is."""
        tables = together(trial(1), trial(2, share=0.0, event=(0.9, 0.9), rollout_id=None, prefix="t"))
        assert only(run(tables)).n_control == only(run(trial(1))).n_control

    def test_shared_capacity_is_quasi(self) -> None:
        row = only(run(together(trial(7, event=(0.2, 0.3)), declared({"shares_capacity": 1}))))
        assert (row.grade, row.verdict) == ("quasi", "promote")
        assert "arms compete for the same capacity" in (row.reason or "")

    def test_a_change_that_nobody_met_yet_says_so(self) -> None:
        (row,) = run(declared()).estimates
        assert (row.metric, row.verdict, row.n_control, row.n_treated) == (ALL_METRICS, "keep testing", 0, 0)
        assert (row.reason or "").startswith("not enough data: nobody in either arm")
        (row,) = run(declared(), as_of_us=at(-1)).estimates
        assert "has not begun" in (row.reason or "")


class TestMonths:
    def test_rows_are_cumulative_to_the_months_end(self) -> None:
        tables = trial(1, days=45)
        march, april = run(tables), run(tables, MARCH.next())
        assert only(march).n_control == pytest.approx(2_000 * 31 / 45, abs=80)
        assert (only(april).n_control or 0) + (only(april).n_treated or 0) == 4_000
        assert (only(march).month, only(april).month) == ("2026-03", "2026-04")

    def test_what_was_not_complete_is_counted_in_both_arms_alike(self) -> None:
        row = only(run(trial(1, days=10), as_of_us=at(8)))
        entered = 4_000 * 0.8
        assert row.n_immature == pytest.approx(entered * 3 / 8, abs=80)
        assert (row.n_control or 0) + (row.n_treated or 0) + (row.n_immature or 0) == pytest.approx(entered, abs=80)

    def test_a_month_that_the_change_does_not_touch_is_empty(self) -> None:
        found = run(trial(1), Month.parse("2026-06", "UTC"))
        assert (found.changes, found.estimates, found.checks) == ([], [], [])


class TestDaysLeft:
    def test_is_told_while_the_test_goes_on(self) -> None:
        row = only(run(trial(1, n=30_000, days=30, event=(0.8, 0.8)), as_of_us=at(14)))
        assert row.se is not None
        assert row.control is not None
        units = (row.n_control or 0) + (row.n_treated or 0)
        missing = units * 2.8**2 * row.se**2 / (0.02 * row.control) ** 2 - units - (row.n_immature or 0)
        assert row.days_left is not None
        assert row.days_left - 3 == pytest.approx(missing / (30_000 / 30), abs=1)

    def test_is_not_told_once_the_stage_is_over_or_decided(self) -> None:
        assert only(run(together(trial(1), declared({"ended_at": at(14)})))).days_left is None
        assert only(run(trial(7, event=(0.2, 0.3)))).days_left is None


class TestGrades:
    """Labels say who was in which arm; that it was drawn is declared, or share and history say so together."""

    def world(self, seed: int = 1, *, chosen: bool = False, before: bool = True) -> dict[str, pd.DataFrame]:
        """3,000 people, of whom 300 meet v2: drawn, or those who rebooked most and live in the north."""
        rng = np.random.default_rng(seed)
        taste = rng.beta(2, 4, 3_000)
        new = taste >= np.sort(taste)[-300] if chosen else rng.permutation(3_000) < 300
        made = World()
        for i in range(3_000):
            zone = "north" if rng.random() < (0.9 if chosen and new[i] else 0.5) else "south"
            if before:
                made.expose(f"s{i}", -10 + rng.random(), None, "v1", rollout_id=None, zone=zone)
                if rng.random() < taste[i]:
                    made.engage(f"s{i}", -5 + rng.random())
            entry = 14 * rng.random()
            made.expose(f"s{i}", entry, "canary" if new[i] else "stable", zone=zone)
            if rng.random() < taste[i]:
                made.engage(f"s{i}", entry + 0.5)
        return made.tables()

    @staticmethod
    def graded(tables: Mapping[str, pd.DataFrame], **change: Any) -> tuple[str | None, str, str]:
        """(grade, state of the pre-period, verdict)."""
        found = run(together(dict(tables), declared(change)) if change else tables)
        (check,) = [c for c in found.checks if c.check == "pre_period:rebooked"]
        row = next(r for r in found.estimates if r.metric == "rebooked" and r.dimension == "all")
        return row.grade, check.state, str(row.verdict)

    def test_labels_alone_are_labelled_and_the_pre_period_has_no_data(self) -> None:
        grade, state, _ = self.graded(self.world(before=False))
        assert (grade, state) == ("labelled", "no data")

    @pytest.mark.parametrize("change", [{"allocation": {"v1": 9, "v2": 1}}, {"assignment": "random"}])
    def test_what_is_declared_is_randomised(self, change: dict[str, Any]) -> None:
        assert self.graded(self.world(before=False), **change)[0] == "randomised"

    def test_a_declaration_that_says_nothing_of_the_draw_is_no_more_than_labels(self) -> None:
        assert self.graded(self.world(before=False), title="Ours")[0] == "labelled"

    def test_a_constant_share_and_a_history_alike_speak_for_a_draw(self) -> None:
        grades = [self.graded(self.world(seed))[0] for seed in range(6)]
        assert grades.count("randomised") >= 5, "one in twenty is not believed"

    def test_people_who_were_chosen_are_not_randomised_whatever_they_do(self) -> None:
        grade, state, verdict = self.graded(self.world(chosen=True))
        assert (grade, state, verdict) == ("quasi", "block", "repair the data first")

    def test_those_who_differ_in_where_they_are_alone_are_labelled(self) -> None:
        tables = self.world()
        x = tables["exposures"]
        x.loc[x["arm"] == "canary", "zone"] = "north"
        assert self.graded(tables)[0] == "labelled"


class TestThePlan:
    """``planned_units`` is the whole stage's: all units that enter it, in whatever arm."""

    def arms(self, share: tuple[float, ...]) -> dict[str, pd.DataFrame]:
        """6,000 people in three arms, the last of whom enter on the last day before the stage ends."""
        tables = trial(5, n=6_000, event=(0.2, 0.2), days=14)
        third = np.random.default_rng(1).choice(3, 6_000, p=share)
        named = [("stable", "v1"), ("blue", "v2"), ("red", "v3")]
        tables["exposures"]["arm"] = [named[i][0] for i in third]
        tables["exposures"]["model_version"] = [named[i][1] for i in third]
        return tables

    @pytest.mark.parametrize("share", [(1 / 3, 1 / 3, 1 / 3), (0.8, 0.1, 0.1), (0.5, 0.5, 0.0)])
    def test_a_finished_test_is_no_longer_interim_whatever_its_arms(self, share: tuple[float, ...]) -> None:
        plan = declared({"planned_units": 6_000, "ended_at": at(14)})
        rows = [r for r in run(together(self.arms(share), plan)).estimates if r.metric == "rebooked"]
        assert [r.decided_by for r in rows] == ["fixed"] * (2 if share[2] else 1)

    def test_while_it_goes_on_complete_units_count(self) -> None:
        tables = together(self.arms((1 / 3, 1 / 3, 1 / 3)), declared({"planned_units": 6_000}))
        rows = [r for r in run(tables, as_of_us=at(15)).estimates if r.metric == "rebooked"]
        assert {r.decided_by for r in rows} == {"always_valid"}
        assert {r.decided_by for r in run(tables).estimates if r.metric == "rebooked"} == {"fixed"}

    def test_a_test_that_ended_short_of_its_plan_stays_interim(self) -> None:
        plan = declared({"planned_units": 6_001, "ended_at": at(14)})
        rows = [r for r in run(together(self.arms((0.5, 0.5, 0.0)), plan)).estimates if r.metric == "rebooked"]
        assert [r.decided_by for r in rows] == ["always_valid"]

    def test_a_plan_of_couriers_counts_those_of_whom_nobody_answered(self) -> None:
        world = World()
        world.declare(0, unit="courier", planned_units=200, ended_at=at(28), allocation={"v1": 1, "v2": 1})
        for i in range(4_000):
            courier, subject = i % 200, f"s{i}"
            world.expose(subject, 14 * i / 4_000, "canary" if courier % 2 else "stable", courier=f"k{courier}")
            if courier < 150:
                world.answer(subject, 14 * i / 4_000 + 0.5, 3 + i % 3)
        (row,) = [r for r in run(world.tables()).estimates if r.metric == "csat/overall" and r.decided_by]
        assert (row.n_control, row.n_treated, row.decided_by) == (75, 75, "fixed")


class TestNoise:
    def test_a_version_that_does_nothing_is_rarely_called_anything(self) -> None:
        """A/A: over 80 drawn trials with three metrics each, better or worse in at most some 5 %."""
        verdicts = []
        for seed in range(80):
            found = run(trial(1_000 + seed, n=900, days=22, event=(0.4, 0.4), spend=(20, 20), score=(3.5, 3.5)))
            verdicts.append(found.estimates[0].verdict)
        called = sum(verdict in ("promote", "roll back") for verdict in verdicts)
        assert called <= 10, "more than 10 of 80 at 5 % has probability 0.003"
        assert verdicts.count("repair the data first") <= 1

    def test_intervals_cover_the_planted_effect(self) -> None:
        """Zero-inflated, skewed spend: a 95 % interval holds the truth in 95 of 100."""
        rng = np.random.default_rng(8)
        covered = 0
        for _ in range(1_000):
            samples = []
            for p, mean in ((0.3, 20.0), (0.33, 22.0)):
                y = np.where(rng.random(1_200) < p, rng.gamma(1.0, mean, 1_200), 0.0)
                samples.append(mean_sample(total(cells(y, np.ones(1_200), np.zeros(1_200, int), 1))))
            low, high = compare(*samples).interval() or (0.0, 0.0)
            covered += low <= 0.33 * 22.0 - 0.3 * 20.0 <= high
        assert covered / 1_000 == pytest.approx(0.95, abs=0.02)


class TestForm:
    def everything(self) -> dict[str, pd.DataFrame]:
        return together(
            trial(1, spend=(5, 6), score=(4, 4), days=20),
            trial(2, share=1.0, start=21, days=9, rollout_id=None, prefix="t"),
            declared(
                {"change_id": "one", "allocation": {"v1": 1, "v2": 1}},
                {"day": 10, "change_id": "two"},
                {"day": 21, "kind": "switch", "change_id": "three", "rollout_id": None},
                {
                    "day": 5,
                    "kind": "staged",
                    "change_id": "four",
                    "rollout_id": "r9",
                    "unit": "zone",
                    "to_version": "v9",
                },
            ),
        )

    def test_the_order_of_rows_does_not_matter(self) -> None:
        tables = self.everything()
        one = run(tables)
        shuffled = run({name: frame.sample(frac=1, random_state=3) for name, frame in tables.items()})
        assert shuffled.changes == one.changes
        assert [c.check for c in shuffled.checks] == [c.check for c in one.checks]
        for a, b in zip(one.estimates, shuffled.estimates, strict=True):
            for name in a.__struct_fields__:
                x, y = getattr(a, name), getattr(b, name)
                assert y == (pytest.approx(x, rel=1e-9) if isinstance(x, float) else x), name

    def test_the_same_tables_give_the_same_bytes(self) -> None:
        one, two = run(self.everything()), run(self.everything())
        assert msgspec.json.encode(one.estimates) == msgspec.json.encode(two.estimates)
        assert msgspec.json.encode(one.checks) == msgspec.json.encode(two.checks)

    def test_rows_of_the_contract_with_a_reason_each(self) -> None:
        found = run(self.everything())
        assert [c.change_id for c in found.changes] == ["one", "four", "three"]
        keys = {(r.change_id, r.stage, r.metric, r.respondent, r.estimator) for r in found.estimates}
        assert len(keys) == len(found.estimates)
        for row in found.estimates:
            assert row.reason
            assert row.freeze_id == "freeze"
            assert msgspec.json.decode(msgspec.json.encode(row), type=Estimate) == row
        assert {c.state for c in found.checks} <= {"ok", "warn", "block", "no data"}

    def test_the_tables_are_left_as_they_were(self) -> None:
        tables = self.everything()
        copies = {name: frame.copy(deep=True) for name, frame in tables.items()}
        run(tables)
        for name, frame in tables.items():
            pd.testing.assert_frame_equal(frame, copies[name])

    def test_a_freezes_own_column_types_are_read_too(self) -> None:
        tables = self.everything()
        arrow = {name: frame.convert_dtypes(dtype_backend="numpy_nullable") for name, frame in tables.items()}
        assert run(arrow).estimates == run(tables).estimates
        assert run(arrow).words == run(tables).words

    def test_empty_tables(self) -> None:
        assert dataclasses.replace(run(frames()), words=None) == Analysis([], [], [])

    def test_what_other_rooms_may_use(self) -> None:
        assert Result.__name__ not in analysis.__all__
        assert DAY_US == 86_400_000_000
