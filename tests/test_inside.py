"""Units drawn inside clusters or strata, from exposures and events to the row: every kind of metric, every check."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.oneway import anova_generic

from analysis import Analysis, analyse
from analysis.draws import whole_clusters
from analysis.estimators import clustered, stratified
from analysis.estimators.clustered import ClusterSums
from analysis.estimators.stratified import Stratum
from analysis.lift import Effect, mean_sample
from analysis.moments import cells
from analysis.segments import differ_between_clusters, heterogeneity
from analysis.srm import share_drift
from edgeloop.clock import DAY_US, HOUR_US
from edgeloop.metrics import MetricSettings
from edgeloop.store import facts
from edgeloop.store.rows import Estimate
from tests.frames import COLUMNS, LATER, MARCH, World, at, frames, together

METRICS = {
    "conversion": MetricSettings(role="goal", headline=True, event="order"),
    "revenue": MetricSettings(role="goal", event="order", kind="mean"),
    "csat": MetricSettings(role="goal", source="answers", event="csat/overall", kind="mean", margin=0.1),
    "per_visit": MetricSettings(role="watch", event="order", kind="ratio", per="visit"),
    "errors": MetricSettings(role="guardrail", source="exposures", event="error", kind="ratio", margin=0.05,
                             direction="down"),
    "latency_p95": MetricSettings(role="guardrail", source="exposures", event="latency_ms", kind="quantile",
                                  margin=50.0, direction="down"),
}  # fmt: skip


@dataclass(frozen=True)
class People:
    """One element per person, in order of their entry."""

    zone: np.ndarray
    new: np.ndarray
    order: np.ndarray
    spent: np.ndarray
    score: np.ndarray
    visits: np.ndarray
    slow: np.ndarray
    failed: np.ndarray

    def tables(self, **change: Any) -> dict[str, pd.DataFrame]:
        n = len(self.new)
        rng = np.random.default_rng(99)
        entry = at(0) + np.sort((np.arange(n) / n * 14 * DAY_US).astype(np.int64))
        subject = np.array([f"s{i:05d}" for i in range(n)])
        base = {"subject": subject, "anonymous": 0}
        exposures = pd.DataFrame(
            base | {"exposure_id": [f"x{i:05d}" for i in range(n)], "occurred_at": entry, "model_id": "eta",
                    "model_version": np.where(self.new, "v2", "v1"), "arm": np.where(self.new, "canary", "stable"),
                    "rollout_id": "r1", "zone": [f"z{z}" for z in self.zone], "site": [f"h{z}" for z in self.zone],
                    "courier": [f"c{z}" for z in self.zone], "latency_ms": self.slow,
                    "error": np.where(self.failed, "timeout", None)}
        )  # fmt: skip
        orders = pd.DataFrame(
            base | {"event_id": [f"o{i:05d}" for i in range(n)], "occurred_at": entry + HOUR_US, "name": "order",
                    "value": self.spent, "currency": "EUR"}
        )[self.order.astype(bool)]  # fmt: skip
        again = np.repeat(np.arange(n), self.visits)
        visits = pd.DataFrame(
            {"event_id": [f"v{i:06d}" for i in range(len(again))], "subject": subject[again], "anonymous": 0,
             "occurred_at": entry[again] + 2 * HOUR_US, "name": "visit"}
        )  # fmt: skip
        answers = pd.DataFrame(
            {"response_id": subject, "subject": subject, "respondent": "customer", "survey_id": "csat",
             "occurred_at": entry + DAY_US, "question": "overall", "kind": "rating", "value": self.score, "low": 1,
             "high": 5}
        )[rng.random(n) < 0.5]  # fmt: skip
        world = World()
        world.declare(0, assignment="random", **change)
        made = {"exposures": exposures, "engagement": pd.concat([orders, visits]), "answers": answers}
        tables = frames() | {name: frame.reindex(columns=list(COLUMNS[name])) for name, frame in made.items()}
        return together(tables, world.tables())


def people(
    seed: int, shares: list[float], n: int = 3_000, *, base: float = 1.0, effect: float = 0.0, mixed: bool = False
) -> People:
    """Drawn inside as many zones as shares of the new arm; zones differ by ``base``, nothing else unless ``effect``.

    They enter one zone after the other, as in a file; ``mixed``: in any order.
    """
    rng = np.random.default_rng(seed)
    zones = len(shares)
    zone = rng.integers(0, zones, n)
    zone = zone if mixed else np.sort(zone)
    new = rng.random(n) < np.array(shares)[zone]
    level = base * zone / max(zones - 1, 1) + effect * new
    order = (rng.random(n) < np.clip(0.25 + 0.25 * level, 0, 1)).astype(int)
    spent = order * rng.gamma(2.0, 10 + 5 * level)
    score = np.clip(np.rint(3 + level + rng.normal(0, 1, n)), 1, 5)
    slow = np.exp(5 + 0.3 * level + 0.4 * rng.standard_normal(n))
    failed = rng.random(n) < 0.05 + 0.1 * level
    return People(zone, new, order, spent, score, 1 + rng.poisson(1 + level), slow, failed)


def analysed(tables: dict[str, pd.DataFrame]) -> Analysis:
    return analyse(tables, MARCH, freeze_id="f", as_of_us=LATER, metrics=METRICS)


def rows(found: Analysis, dimension: str = "all") -> dict[str, Estimate]:
    """The deciding row of each metric."""
    kept = [e for e in found.estimates if e.dimension == dimension]
    first: dict[str, Estimate] = {}
    for e in kept:
        first.setdefault(e.metric, e)
    return first


def checks(found: Analysis) -> dict[str, tuple[str, float | None]]:
    return {c.check: (c.state, c.p) for c in found.checks}


UNEQUAL = [0.1, 0.5, 0.9]


class TestStrata:
    def test_a_draw_in_file_order_is_no_share_drift(self) -> None:
        """The reproduction of the fault: pooled p 1e-33 and smaller; inside strata the share is what it is."""
        drawn = people(1, UNEQUAL)
        day = np.arange(3_000) * 14 // 3_000
        pooled = share_drift(*(np.bincount(day[drawn.new == arm], minlength=14) for arm in (False, True)))
        assert pooled is not None
        assert pooled.p < 1e-33
        found = analysed(drawn.tables(strata=["zone"]))
        after = checks(found)
        assert len(found.changes[0].stages) == 1, "the shares step from one stratum to the next, and no stage begins"
        assert after["share_drift"][0] == "ok"
        assert after["share_drift"][1] is not None
        assert after["share_drift"][1] > 0.01

    def test_a_drift_inside_a_stratum_blocks_all_the_same(self) -> None:
        drawn = people(1, UNEQUAL)
        in_last = np.flatnonzero(drawn.zone == 2)
        new = drawn.new.copy()
        new[in_last] = np.arange(len(in_last)) > len(in_last) // 2
        assert checks(analysed(replace(drawn, new=new).tables(strata=["zone"])))["share_drift"][0] == "block"

    def test_unequal_shares_do_not_confound_any_metric(self) -> None:
        """Zones differ much, the versions nothing: pooled every goal is "better" by 5 standard errors and more."""
        drawn = people(2, UNEQUAL, 6_000, mixed=True)
        before, after = rows(analysed(drawn.tables())), rows(analysed(drawn.tables(strata=["zone"])))
        for metric in METRICS:
            assert abs(before[metric].effect or 0.0) > 4 * (before[metric].se or math.inf), metric
            assert abs(after[metric].effect or math.inf) < 3 * (after[metric].se or 0.0), metric
            assert (after[metric].estimator or "").partition("+")[2].startswith("strata"), metric

    def test_the_figure_is_the_strata_s_differences_by_their_shares(self) -> None:
        drawn = people(3, UNEQUAL, effect=0.2)
        row = rows(analysed(drawn.tables(strata=["zone"])))["conversion"]
        y, n = drawn.order.astype(np.float64), len(drawn.new)
        parts = [mean_sample(m) for m in cells(y, np.ones(n), 2 * drawn.zone + drawn.new, 6)]
        own = [Stratum(float(np.mean(drawn.zone == s)), parts[2 * s], parts[2 * s + 1]) for s in range(3)]
        wanted = stratified.compare(own)
        assert (row.effect, row.se, row.p) == pytest.approx((wanted.effect, wanted.se, wanted.p), rel=1e-9)
        assert (row.control, row.treated) == pytest.approx(stratified.figures(own))
        assert row.facts[-1] != facts.Strata(("zone",), 3)
        assert facts.Strata(("zone",), 3) in row.facts
        assert "compared inside 3 strata of zone, weighted by their size" in (row.reason or "")

    def test_several_fields_make_one_stratum(self) -> None:
        drawn = people(4, UNEQUAL)
        both, one = (rows(analysed(drawn.tables(strata=s)))["conversion"] for s in (["zone", "site"], ["zone"]))
        assert (both.effect, both.se) == (one.effect, one.se)

    def test_the_sample_ratio_is_that_inside_strata(self) -> None:
        """Half and half is declared: 60 % in one zone and 40 % in the other is none, though together it is."""
        drawn = people(5, [0.4, 0.6], 4_000)
        halves = {"v1": 1, "v2": 1}
        together_, inside = (checks(analysed(drawn.tables(allocation=halves, strata=s)))["srm"] for s in ([], ["zone"]))
        assert together_[0] == "ok"
        assert inside[0] == "block"
        fair = people(5, [0.5, 0.5], 4_000).tables(allocation=halves, strata=["zone"])
        assert checks(analysed(fair))["srm"][0] == "ok"

    def test_strata_too_small_for_a_test_are_one(self) -> None:
        drawn = people(6, [0.7] * 300, 1_500)
        found = checks(analysed(drawn.tables(allocation={"v1": 1, "v2": 1}, strata=["zone"])))
        assert found["srm"][0] == "block"

    def test_history_is_compared_inside_strata(self) -> None:
        """Zones ordered differently before: the arms of unequal shares did too, and that is no fault of the draw."""
        drawn = people(7, UNEQUAL, 6_000, mixed=True)
        tables = drawn.tables(strata=["zone"])
        rng = np.random.default_rng(7)
        ordered = rng.random(6_000) < 0.05 + 0.25 * drawn.zone
        seen = tables["engagement"][tables["engagement"]["name"] == "visit"].drop_duplicates("subject")
        seen = seen.assign(occurred_at=at(-4), event_id=["a" + e for e in seen["event_id"]])
        early = seen[ordered].assign(occurred_at=at(-3), name="order", value=20.0, currency="EUR")
        early = early.assign(event_id=["b" + e for e in early["event_id"]])
        tables["engagement"] = pd.concat([tables["engagement"], seen, early], ignore_index=True)
        told = checks(analysed(tables))
        assert told["pre_period:conversion"][0] == "ok"
        tables["changes"]["strata"] = None
        assert checks(analysed(tables))["pre_period:conversion"][0] == "block"
        row = rows(analysed(tables | {"changes": tables["changes"].assign(strata='["zone"]')}))["conversion"]
        assert (row.estimator or "").startswith("cuped+strata")

    def test_what_one_arm_lacks_is_left_out_and_said(self) -> None:
        drawn = people(8, [0.5, 0.5, 0.0])
        row = rows(analysed(drawn.tables(strata=["zone"])))["conversion"]
        lost = int(np.count_nonzero(drawn.zone == 2))
        assert facts.NotInside(("zone",), 0, lost) in row.facts
        assert (row.n_control or 0) + (row.n_treated or 0) == len(drawn.new) - lost
        tables = drawn.tables(strata=["zone"])
        tables["exposures"].loc[:99, "zone"] = None
        assert facts.NotInside(("zone",), 100, lost) in rows(analysed(tables))["conversion"].facts

    def test_an_arm_is_not_silent_where_its_stratum_has_few(self) -> None:
        """64 people a day of a zone with 2 % in the new arm: silent on days, and nothing is wrong with it.

        By the share of both zones, 31 %, one such day would be a chance of 1e-10.
        """
        drawn = people(9, [0.02, 0.6], 900)
        day = np.arange(900) * 14 // 900
        assert (np.bincount(day[drawn.new], minlength=14) == 0).any()
        assert checks(analysed(drawn.tables(strata=["zone"])))["arm_silent"][0] == "ok"
        # A zone of 60 % that says nothing of the new version for days is another thing.
        quiet = replace(drawn, new=drawn.new & ~((drawn.zone == 1) & (day < 10)))
        assert checks(analysed(quiet.tables(strata=["zone"])))["arm_silent"][0] == "block"


class TestClusters:
    def test_the_interval_is_that_between_clusters(self) -> None:
        drawn = people(11, [0.5] * 12, effect=0.3)
        plain, row = (rows(analysed(drawn.tables(**more)))["conversion"] for more in ({}, {"cluster": "site"}))
        sums = ClusterSums.of(
            drawn.order.astype(np.float64), np.ones(len(drawn.new)), drawn.new.astype(np.int64), drawn.zone
        )
        wanted = clustered.compare(sums)
        assert (row.effect, row.se, row.p) == pytest.approx((wanted.effect, wanted.se, wanted.p), rel=1e-9)
        assert row.effect == pytest.approx(plain.effect)
        assert row.estimator == "difference_in_means+cluster"
        assert facts.Clusters("site", 12, 12) in row.facts

    def test_an_effect_in_one_village_is_not_proven_for_villages(self) -> None:
        """One zone of eight gains 60 points: Welch's p is 1e-6, and of villages nothing is known."""
        drawn = people(12, [0.5] * 8, base=0.0)
        order = np.where((drawn.zone == 3) & drawn.new, 1, drawn.order)
        drawn = replace(drawn, order=order)
        plain, row = (rows(analysed(drawn.tables(**more)))["conversion"] for more in ({}, {"cluster": "zone"}))
        assert (plain.p or 1.0) < 1e-4
        assert (row.p or 0.0) > 0.2

    def test_every_kind_of_metric_is_told_between_clusters(self) -> None:
        drawn = people(13, [0.5] * 10, 4_000, effect=0.1)
        plain, found = (rows(analysed(drawn.tables(**more))) for more in ({}, {"cluster": "courier"}))
        for metric in METRICS:
            assert "+cluster" in (found[metric].estimator or ""), metric
            assert found[metric].se is not None, metric
            assert found[metric].effect == pytest.approx(plain[metric].effect, rel=0.02), metric
            assert 0.2 < (found[metric].se or 0.0) / (plain[metric].se or 1.0) < 5.0, metric

    def test_people_of_one_courier_are_not_independent_whichever_arm_they_are_in(self) -> None:
        """``unit`` courier takes a courier with both arms for two; by ``cluster`` both arms' figures move together."""
        rng = np.random.default_rng(14)
        drawn = people(14, [0.5] * 40, 4_000, base=0.0)
        mood = rng.normal(0, 3.0, 40)[drawn.zone]  # the courier's, on either version
        drawn = replace(drawn, order=(mood + rng.normal(0, 1, 4_000) > 0).astype(int))
        apart = rows(analysed(drawn.tables(unit="courier")))["conversion"]
        joined = rows(analysed(drawn.tables(unit="courier", cluster="courier")))["conversion"]
        inside = rows(analysed(drawn.tables(cluster="courier")))["conversion"]
        assert apart.effect == pytest.approx(joined.effect)
        assert (apart.se or 0.0) > 4 * (joined.se or 1.0)
        assert (joined.effect, joined.se, joined.p) == pytest.approx((inside.effect, inside.se, inside.p))
        assert joined.estimator == "ratio+cluster"

    def test_couriers_drawn_inside_strata_are_their_own_clusters(self) -> None:
        rng = np.random.default_rng(15)
        courier, zone = np.arange(4_000) % 200, np.arange(4_000) % 200 % 3
        drawn = people(15, [0.5], 4_000)
        new = (rng.random(200) < np.array(UNEQUAL)[np.arange(200) % 3])[courier]
        drawn = replace(drawn, new=new, zone=zone, order=(rng.random(4_000) < 0.2 + 0.2 * zone).astype(int))
        tables = drawn.tables(unit="courier", strata=["zone"])
        tables["exposures"]["courier"] = [f"c{c}" for c in courier]
        row = rows(analysed(tables))["conversion"]
        wanted = clustered.compare(
            ClusterSums.of(drawn.order.astype(np.float64), np.ones(4_000), new.astype(np.int64), courier, zone)
        )
        assert (row.effect, row.se) == pytest.approx((wanted.effect, wanted.se), rel=1e-9)
        assert row.estimator == "ratio+cluster+strata"
        assert (row.n_control, row.n_treated) == (200 - new[:200].sum(), new[:200].sum())

    def test_clusters_and_strata_together(self) -> None:
        drawn = people(16, [0.1, 0.5, 0.9, 0.1, 0.5, 0.9], 6_000)
        tables = drawn.tables(cluster="site", strata=["zone"])
        site = np.random.default_rng(16).integers(0, 8, 6_000) + 8 * (drawn.zone % 2)
        tables["exposures"]["site"] = [f"h{s}" for s in site]
        row = rows(analysed(tables))["conversion"]
        sums = ClusterSums.of(
            drawn.order.astype(np.float64), np.ones(6_000), drawn.new.astype(np.int64), site, drawn.zone
        )
        wanted = clustered.compare(sums)
        assert (row.effect, row.se, row.p) == pytest.approx((wanted.effect, wanted.se, wanted.p), rel=1e-9)
        assert row.estimator == "difference_in_means+cluster+strata"

    def test_an_arm_in_one_cluster_decides_nothing(self) -> None:
        found = rows(analysed(people(17, [0.0, 0.0, 1.0]).tables(cluster="zone")))["conversion"]
        assert found.se is None
        assert found.facts[0] == facts.FewClusters("zone", 2, 1, 2)
        assert (found.reason or "").startswith("not enough data: 2 and 1 zones (control, new version); 2 in each")

    def test_where_whole_clusters_were_drawn_these_are_counted(self) -> None:
        """20 and 20 zones of very different size: people are 1:4, zones 1:1."""
        rng = np.random.default_rng(18)
        zone = np.sort(rng.choice(40, 4_000, p=np.repeat([0.2, 0.8], 20) / 20))
        drawn = replace(people(18, [0.5], 4_000), zone=zone, new=zone >= 20)
        halves = {"v1": 1, "v2": 1}
        assert checks(analysed(drawn.tables(allocation=halves)))["srm"][0] == "block"
        assert checks(analysed(drawn.tables(allocation=halves, cluster="zone")))["srm"][0] == "ok"
        assert checks(analysed(drawn.tables()))["share_drift"][0] == "block"
        shuffled = rng.permutation(4_000)
        mixed = replace(drawn, zone=zone[shuffled], new=drawn.new[shuffled])
        assert checks(analysed(mixed.tables(cluster="zone")))["share_drift"][0] != "block"

    def test_segments_are_told_between_clusters_too(self) -> None:
        drawn = people(19, [0.5] * 10, 6_000, effect=0.2)
        tables = drawn.tables(cluster="site")
        tables["exposures"]["device"] = np.where(np.arange(6_000) % 2, "ios", "android")
        found = [e for e in analysed(tables).estimates if e.dimension == "device" and e.metric == "conversion"]
        assert [e.segment for e in found] == ["android", "ios"]
        for i, e in enumerate(found):
            own = np.arange(6_000) % 2 == i
            wanted = clustered.compare(
                ClusterSums.of(
                    drawn.order[own].astype(np.float64),
                    np.ones(3_000),
                    drawn.new[own].astype(np.int64),
                    drawn.zone[own],
                )
            )
            assert (e.effect, e.se) == pytest.approx((wanted.effect, wanted.se), rel=1e-9)
            assert e.estimator == "difference_in_means+cluster"


@pytest.mark.parametrize(
    ("sizes", "drawn", "whole"),
    [
        ([50] * 10, "cluster", True),
        ([50] * 10, "unit", False),
        ([1] * 200, "unit", False),  # no cluster has two: the units are the clusters
        ([2] * 300, "unit", False),
        ([2] * 300, "cluster", True),
        ([200, 200], "cluster", True),
    ],
)
def test_what_was_drawn_is_seen(sizes: list[int], drawn: str, whole: bool) -> None:
    rng = np.random.default_rng(1)
    cluster = np.repeat(np.arange(len(sizes)), sizes)
    of_cluster = np.arange(len(sizes)) % 2
    group = of_cluster[cluster] if drawn == "cluster" else (rng.random(len(cluster)) < 0.3).astype(int)
    assert whole_clusters(cluster, group) is whole


def test_a_five_per_cent_canary_inside_small_clusters_is_a_draw_of_units() -> None:
    """90 % of the clusters of two have the old version alone, as chance would have it."""
    rng = np.random.default_rng(2)
    assert not whole_clusters(np.repeat(np.arange(2_000), 2), (rng.random(4_000) < 0.05).astype(int))


def test_weighted_answers_where_everybody_is_a_cluster_are_the_weighted_ones() -> None:
    """1/(1 − h) of each in the place of n/(n − 1); and one stratum of everybody changes nothing either."""
    drawn = people(21, [0.5] * 4, 4_000)
    told = {}
    for name, change in {"plain": {}, "each": {"cluster": "site"}, "one": {"strata": ["placement"]}}.items():
        tables = drawn.tables(**change)
        tables["exposures"]["site"] = [f"own{i}" for i in range(4_000)]
        tables["exposures"]["placement"] = "edge"
        told[name] = rows(analysed(tables))["csat"]
    assert [told[name].estimator for name in told] == ["weighted", "weighted+cluster", "weighted+strata"]
    for name in ("each", "one"):
        assert told[name].effect == pytest.approx(told["plain"].effect, rel=1e-9)
        assert told[name].se == pytest.approx(told["plain"].se, rel=5e-3)
    assert any(isinstance(fact, facts.Silent) for fact in told["each"].facts)
    assert not any(isinstance(fact, facts.Superiority) for fact in told["each"].facts)
    assert not any(isinstance(fact, facts.Silent) for fact in told["one"].facts)


def test_the_spread_of_weighted_answers_is_that_of_drawing_clusters_again() -> None:
    """Answers and answering hang together by site; the standard error against 300 draws of the sites."""
    rng = np.random.default_rng(22)
    sites, n = 40, 4_000
    drawn = people(22, [0.5] * sites, n, base=0.0)
    mood, swing = rng.normal(0, 0.5, sites), rng.normal(0, 0.5, sites)
    score = np.clip(np.rint(3 + mood[drawn.zone] + swing[drawn.zone] * drawn.new + rng.normal(0, 1, n)), 1, 5)
    tables = replace(drawn, score=score).tables(cluster="site")
    tables["exposures"]["device"] = np.where(rng.random(n) < 0.5, "ios", "android")
    found = rows(analysed(tables))["csat"]
    answered = dict(zip(tables["answers"]["subject"], tables["answers"]["value"], strict=True))
    subject, device = tables["exposures"]["subject"], (tables["exposures"]["device"] == "ios").to_numpy()
    value = np.array([answered.get(s, np.nan) for s in subject], dtype=np.float64)
    by_site = [np.flatnonzero(drawn.zone == s) for s in range(sites)]

    def effect(who: np.ndarray) -> float:
        means = []
        for arm in (drawn.new[who], ~drawn.new[who]):
            own, y = device[who][arm], value[who][arm]
            part = [np.nanmean(y[own == d]) * np.mean(own == d) for d in (False, True)]
            means.append(sum(part))
        return float(means[0] - means[1])

    again = [effect(np.concatenate([by_site[s] for s in rng.integers(0, sites, sites)])) for _ in range(300)]
    assert found.effect == pytest.approx(effect(np.arange(n)), abs=0.02)
    assert found.se == pytest.approx(float(np.std(again)), rel=0.15)


def test_a_currency_of_one_zone_is_no_loss_of_one_arm() -> None:
    """The third zone pays in francs and 90 % of it has the new version: pooled one arm loses its money."""
    drawn = people(23, UNEQUAL, 3_000, mixed=True)
    states = []
    for change in ({}, {"strata": ["zone"]}):
        tables = drawn.tables(**change)
        francs = {f"s{i:05d}" for i in np.flatnonzero(drawn.zone == 2)}
        tables["engagement"].loc[tables["engagement"]["subject"].isin(francs), "currency"] = "CHF"
        states.append(checks(analysed(tables))["left_out:revenue"][0])
    assert states == ["block", "ok"]


def test_ids_that_one_zone_lacks_are_no_loss_of_one_arm() -> None:
    drawn = people(24, UNEQUAL, 3_000, mixed=True)
    states = []
    for change in ({}, {"strata": ["zone"]}):
        tables = drawn.tables(**change)
        lost = (drawn.zone == 2) & (np.arange(3_000) % 3 == 0)
        tables["exposures"]["anonymous"] = lost.astype(int)
        states.append(checks(analysed(tables))["anonymous_arms"][0])
    assert states == ["block", "ok"]


def test_segments_differ_between_clusters_by_welchs_test_of_many_means() -> None:
    """Against statsmodels' `anova_generic` with unequal variances: means of 5, 9 and 14 values."""
    n, means, variances = np.array([5, 9, 14]), np.array([1.0, 2.0, 4.0]), np.array([2.0, 3.0, 9.0])
    own = [Effect(0.0, m, m, math.sqrt(v / k), k - 1.0) for k, m, v in zip(n.tolist(), means, variances, strict=True)]
    wanted = anova_generic(means, variances, n, use_var="unequal", welch_correction=True)
    assert differ_between_clusters(own) == pytest.approx(wanted.pvalue, rel=1e-9)
    many = [Effect(e.control, e.treated, e.effect, e.se, 1e9) for e in own]
    assert differ_between_clusters(many) == pytest.approx(heterogeneity(many), rel=1e-6)
    assert differ_between_clusters([own[0], None]) is None
