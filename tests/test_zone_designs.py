"""Zones and zones by time from events to rows: stages, bases, blocks, guardrails of every kind."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.blocks import blocks, declared_grid, find_grid
from analysis.estimates import Analysis, analyse
from analysis.ledger import ledger
from edgeloop.clock import DAY_US, HOUR_US
from edgeloop.metrics import MetricSettings
from edgeloop.store import facts
from tests.frames import COLUMNS, LATER, MARCH, World, at, frames, together

FORTNIGHT = MARCH.start_us, MARCH.start_us + 14 * DAY_US
METRICS = {
    "rebooked": MetricSettings(role="goal", headline=True, event="rebooked", window_h=1.0),
    "latency_p95": MetricSettings(
        role="guardrail", source="exposures", event="latency_ms", kind="quantile", direction="down", margin=50.0
    ),
    "error_rate": MetricSettings(
        role="guardrail", source="exposures", event="error", kind="ratio", direction="down", margin=0.005
    ),
}


def traffic(
    rng: np.random.Generator,
    version: Any,
    *,
    zones: int,
    days: tuple[float, float],
    per_day: int = 40,
    gain: float = 0.0,
    slower: float = 0.0,
    errors: tuple[float, float] = (0.01, 0.01),
    drift: Any = None,
    **more: Any,
) -> dict[str, pd.DataFrame]:
    """Exposures of ``version(zone, day)`` = "v1" or "v2", every person once, a fifth rebooks within the hour."""
    n = round(per_day * zones * (days[1] - days[0]))
    zone = rng.integers(0, zones, n)
    day = np.sort(rng.uniform(*days, n))
    shown = np.array([version(z, d) for z, d in zip(zone.tolist(), day.tolist(), strict=True)])
    new = shown == "v2"
    rate = 0.2 + 0.01 * zone / zones + gain * new
    if drift is not None:
        rate = rate + np.array([drift(z, d) for z, d in zip(zone.tolist(), day.tolist(), strict=True)])
    moment = np.array([at(d) for d in day.tolist()])
    people = np.array([f"p{int(1e6 + days[0] * 1e4)}-{i}" for i in range(n)])
    exposures = pd.DataFrame(
        {"exposure_id": people, "subject": people, "occurred_at": moment, "anonymous": 0, "model_id": "eta",
         "model_version": shown, "zone": np.char.add("z", np.char.zfill(zone.astype(str), 2)),
         "latency_ms": rng.gamma(4, 25, n) + slower * new,
         "error": np.where(rng.random(n) < np.where(new, errors[1], errors[0]), "timeout", None)}
    ).assign(**more)  # fmt: skip
    engagement = pd.DataFrame(
        {"event_id": people, "subject": people, "occurred_at": moment + HOUR_US // 2, "name": "rebooked",
         "source": "app", "anonymous": 0}
    )[rng.random(n) < rate]  # fmt: skip
    made = frames() | {"exposures": exposures, "engagement": engagement}
    return {name: frame.reindex(columns=list(COLUMNS[name])) for name, frame in made.items()}


def declared(*changes: dict[str, Any]) -> dict[str, pd.DataFrame]:
    world = World()
    for change in changes:
        world.declare(**({"rollout_id": None, "kind": "staged", "unit": "zone"} | change))
    return world.tables()


def analysed(tables: dict[str, pd.DataFrame], as_of_us: int = LATER) -> Analysis:
    return analyse(tables, MARCH, freeze_id="f", as_of_us=as_of_us, metrics=METRICS)


def row(found: Analysis, metric: str = "rebooked", stage: int | None = None) -> Any:
    own = [e for e in found.estimates if e.metric == metric and e.change_id == "c0"]
    own = [e for e in own if e.estimator != "synthetic_control"]
    (one,) = [e for e in own if stage is None or e.stage == stage]
    return one


def zones(n: int) -> list[str]:
    return [f"z{i:02d}" for i in range(n)]


def adopted(first: int, second: int, *, begin: float = 3.0, then: float = 12.0) -> Any:
    """The version of a zone and day where so many zones changed at first, and so many in all after the second step."""
    return lambda z, d: "v2" if (d >= begin and z < first) or (d >= then and z < second) else "v1"


class TestStages:
    @pytest.mark.parametrize("labelled", [False, True], ids=["unlabelled", "rollout_id since the start"])
    def test_each_is_compared_with_before_the_first(self, labelled: bool) -> None:
        """Three zones, then six of twelve; before the rollout no exposure carries its id."""
        rng = np.random.default_rng(1)
        more = {"rollout_id": "r9"} if labelled else {}
        own = {"rollout_id": "r9"} if labelled else {}
        found = analysed(
            together(
                traffic(rng, lambda *_: "v1", zones=12, days=(-12, 3)),
                traffic(rng, adopted(3, 6), zones=12, days=(3, 24), gain=0.08, **more),
                declared({"day": 3.0, "zones": zones(3)} | own, {"day": 12.0, "zones": zones(6)} | own),
            )
        )
        (change,) = found.changes
        assert [len(s.zones) for s in change.stages] == [3, 6]
        first, second = row(found, stage=1), row(found, stage=2)
        assert (first.n_control, first.n_treated, second.n_control, second.n_treated) == (9, 3, 6, 6)
        assert first.effect == pytest.approx(0.08, abs=0.025)
        assert second.effect == pytest.approx(0.08, abs=0.025)
        assert second.decided_by == "permutation"
        assert second.decision_low > 0

    def test_one_without_a_zone_left_is_refused(self) -> None:
        rng = np.random.default_rng(2)
        found = analysed(
            together(
                traffic(rng, adopted(4, 12), zones=12, days=(-9, 24), gain=0.08),
                declared({"day": 3.0, "zones": zones(4)}, {"day": 12.0, "zones": zones(12)}),
            )
        )
        last = next(e for e in found.estimates if e.stage == 2)
        assert (last.metric, last.effect) == ("*", None)
        assert "0 zones have the old version and 12 the new one" in last.reason
        assert row(found, stage=1).verdict != "stop, no effect"
        assert row(found, stage=1).effect == pytest.approx(0.08, abs=0.03)

    def test_zones_that_had_it_before_are_no_base(self) -> None:
        rng = np.random.default_rng(3)
        pilot = lambda z, d: "v2" if z == 11 or (d >= 3 and z < 4) else "v1"  # noqa: E731
        found = analysed(
            together(traffic(rng, pilot, zones=12, days=(-9, 24), gain=0.08), declared({"day": 3.0, "zones": zones(4)}))
        )
        one = row(found)
        assert (one.n_control, one.n_treated) == (7, 4)
        assert "1 zones had the new version before the first stage" in one.reason

    def test_nothing_known_of_before_is_no_clean_base(self) -> None:
        rng = np.random.default_rng(4)
        found = analysed(
            together(traffic(rng, adopted(4, 4), zones=12, days=(3, 24)), declared({"day": 3.0, "zones": zones(4)}))
        )
        (one,) = found.estimates
        assert one.reason.startswith("no zone that still has the old version, or none of which the days before")

    def test_a_step_whose_events_carry_the_rollout_gets_a_figure(self) -> None:
        """Of unit subject, as where nobody said a unit; the exposures show whole zones."""
        rng = np.random.default_rng(5)
        found = analysed(
            together(
                traffic(rng, lambda *_: "v1", zones=10, days=(-12, 3)),
                traffic(rng, adopted(4, 4), zones=10, days=(3, 24), gain=0.08, rollout_id="r9"),
                declared({"day": 3.0, "zones": zones(4), "rollout_id": "r9", "unit": "subject"}),
            )
        )
        one = row(found)
        assert (one.unit, one.estimator, one.n_control, one.n_treated) == ("zone", "staged", 6, 4)
        assert one.effect == pytest.approx(0.08, abs=0.03)

    def test_a_switch_between_two_declarations_parts_them(self) -> None:
        changes = declared(
            {"day": 1.0, "zones": zones(2)}, {"day": 5.0, "kind": "switch", "to_version": "v1"},
            {"day": 9.0, "zones": zones(3)}, {"day": 12.0, "zones": zones(5)},
        )  # fmt: skip
        found = ledger(together(traffic(np.random.default_rng(6), adopted(2, 2), zones=6, days=(-3, 14)), changes),
                       timezone="UTC")  # fmt: skip
        assert [len(c.stages) for c in found if c.kind == "staged"] == [1, 2]

    def test_people_in_shares_are_no_zones(self) -> None:
        rng = np.random.default_rng(7)
        drawn = rng.random(10_000) < 0.5
        version = lambda z, d: "v2" if z < 3 and drawn[int(d * 300) % 10_000] else "v1"  # noqa: E731
        change = {
            "day": 3.0,
            "zones": zones(3),
            "rollout_id": "r9",
            "unit": "subject",
            "allocation": {"v1": 1, "v2": 1},
        }
        tables = together(traffic(rng, version, zones=6, days=(3, 20), rollout_id="r9"), declared(change))
        (found,) = [c for c in ledger(tables, timezone="UTC") if c.declared]
        assert (found.unit, found.by_zone) == ("subject", False)


class TestGuardrails:
    @pytest.mark.parametrize("unit", ["zone", "zone_time"])
    def test_every_one_has_a_row_and_a_state(self, unit: str) -> None:
        """Slower by 100 ms and failing ten times as often, while the goal gains: roll back."""
        rng = np.random.default_rng(8)
        draws = rng.permuted(np.tile(np.arange(42) % 2 == 0, (8, 1)), axis=1)
        turn = lambda z, d: "v2" if d >= 3 and draws[z, int((d - 3) * 2)] else "v1"  # noqa: E731
        version = adopted(4, 4) if unit == "zone" else turn
        found = analysed(
            together(
                traffic(rng, version, zones=8, days=(-12, 24), gain=0.1, slower=100, errors=(0.01, 0.1)),
                declared(
                    {"day": 3.0, "unit": unit, "assignment": "random", "zones": zones(4) if unit == "zone" else []}
                ),
            )
        )
        slow, failing, goal = (row(found, name) for name in ("latency_p95", "error_rate", "rebooked"))
        assert slow.estimator == ("staged+quantile" if unit == "zone" else "switchback+quantile")
        assert slow.effect == pytest.approx(100, abs=30)
        assert slow.effect_low > 0
        assert (slow.guard, failing.guard) == ("breach", "breach")
        assert failing.effect == pytest.approx(0.09, abs=0.02)
        assert goal.verdict == "roll back"

    def test_a_p95_by_zone_has_the_figures_before_and_the_shares_that_are_compared(self) -> None:
        """Zones of the new version were slower by 60 ms before: the figures after alone would say that it slows."""
        rng = np.random.default_rng(8)
        tables = together(
            traffic(rng, adopted(4, 4), zones=8, days=(-12, 24), slower=-30),
            declared({"day": 3.0, "zones": zones(4), "assignment": "random"}),
        )
        x = tables["exposures"]
        slow = x["zone"].isin(zones(4))
        x.loc[slow, "latency_ms"] += 60.0
        found = row(analysed(tables), "latency_p95")
        assert (found.control_before, found.treated_before) == pytest.approx(
            [x.loc[(x["occurred_at"] < at(3)) & kind, "latency_ms"].quantile(0.95) for kind in (~slow, slow)], abs=15
        )
        assert found.treated - found.control == pytest.approx(30, abs=20)
        assert found.effect < 0
        shares = next(fact for fact in found.facts if isinstance(fact, facts.SharesBeyond))
        assert shares.threshold == found.control
        assert shares.treated - shares.control < shares.treated_before - shares.control_before

    def test_harmless_ones_are_cleared(self) -> None:
        rng = np.random.default_rng(9)
        found = analysed(
            together(
                traffic(rng, adopted(6, 6), zones=12, days=(-15, 24), gain=0.1, per_day=120, errors=(0.001, 0.001)),
                declared({"day": 3.0, "zones": zones(6), "assignment": "random"}),
            )
        )
        assert (row(found, "latency_p95").guard, row(found, "error_rate").guard) == ("cleared", "cleared")
        assert row(found).verdict == "promote"
        assert (row(found).control_before, row(found).treated_before) == pytest.approx((0.2, 0.2), abs=0.03)

    def test_delivery_agents_are_told_where_zones_were_assigned(self) -> None:
        rng = np.random.default_rng(10)
        tables = together(
            traffic(rng, adopted(4, 4), zones=10, days=(-12, 24)), declared({"day": 3.0, "zones": zones(4)})
        )
        x = tables["exposures"]
        x["courier"] = "c" + x["zone"].astype(str) + (np.arange(len(x)) % 8).astype(str)
        late = (x["occurred_at"] >= at(3)) & (x["model_version"] == "v2")
        tables["answers"] = pd.DataFrame(
            {"response_id": x["exposure_id"], "subject": x["courier"], "respondent": "agent", "survey_id": "crew",
             "source": "form", "occurred_at": x["occurred_at"] + HOUR_US, "position": 0, "question": "route",
             "kind": "rating", "value": 3.0 + late + rng.integers(0, 2, len(x)), "low": 1.0, "high": 5.0},
            columns=list(COLUMNS["answers"]),
        )[rng.random(len(x)) < 0.3]  # fmt: skip
        one = next(e for e in analysed(tables).estimates if e.respondent == "agent")
        assert one.effect == pytest.approx(1.0, abs=0.2)
        assert "not identifiable" not in one.reason


def schedule(
    rng: np.random.Generator, hours: float, *, zones: int = 6, days: int = 14, quiet: bool = True, offset: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(zone, moment, new version, number of the true block) of traffic whose zones were drawn by blocks of hours."""
    n = zones * days * 60
    zone = rng.integers(0, zones, n)
    moment = np.sort(rng.integers(MARCH.start_us, MARCH.start_us + days * DAY_US, n))
    hour = moment // HOUR_US % 24
    kept = (hour >= 7) & (hour < 23) if quiet else np.ones(n, dtype=bool)
    zone, moment = zone[kept], moment[kept]
    block = ((moment - MARCH.start_us - round(offset * HOUR_US)) // round(hours * HOUR_US)).astype(int) + 1
    draws = rng.random((zones, block.max() + 1)) < 0.5
    return zone, moment, draws[zone, block], block


class TestBlocks:
    @pytest.mark.parametrize("hours", [2, 3, 4, 6, 8, 12, 24, 48])
    @pytest.mark.parametrize("offset", [0.0, 1.5])
    def test_their_length_is_found_from_the_changes(self, hours: float, offset: float) -> None:
        for seed in range(5):
            rng = np.random.default_rng([hours, seed])
            zone, moment, new, _ = schedule(rng, hours, quiet=hours >= 12, offset=offset)
            grid = find_grid(zone, moment, new, "UTC")
            assert grid is not None
            assert grid.period_us / len(grid.starts) == hours * HOUR_US

    def test_parts_of_the_day(self) -> None:
        """06–11, 11–15 and 15–06, drawn each day anew."""
        rng = np.random.default_rng(1)
        zone, moment, _, _ = schedule(rng, 24, quiet=False)
        part = np.searchsorted([6, 11, 15], (moment // HOUR_US) % 24, side="right") % 3
        day = (moment - 6 * HOUR_US) // DAY_US
        draws = rng.random((6, 3, int(day.max()) + 2)) < 0.5
        grid = find_grid(zone, moment, draws[zone, part, day % draws.shape[2]], "UTC")
        assert grid is not None
        assert [s / HOUR_US for s in grid.starts] == [6, 11, 15]

    def test_a_wall_clock_that_is_put_forward(self) -> None:
        """Days of Berlin over 29 March 2026: by UTC they begin at 23 h, then at 22 h."""
        rng = np.random.default_rng(2)
        moment = np.sort(rng.integers(at(18), at(40), 9_000))
        zone = rng.integers(0, 6, len(moment))
        local = pd.DatetimeIndex(pd.to_datetime(moment, unit="us", utc=True)).tz_convert("Europe/Berlin")
        day = np.asarray(local.day_of_year)
        draws = rng.random((6, 366)) < 0.5
        grid = find_grid(zone, moment, draws[zone, day], "Europe/Berlin")
        assert grid is not None
        assert (grid.period_us, grid.timezone) == (DAY_US, "Europe/Berlin")

    def test_cut_ones_are_left_out_and_the_first_hour_of_each(self) -> None:
        rng = np.random.default_rng(3)
        zone, moment, new, true = schedule(rng, 24)
        span = MARCH.start_us + 5 * HOUR_US, MARCH.start_us + 13 * DAY_US + 8 * HOUR_US
        inside = (moment >= span[0]) & (moment < span[1])
        zone, moment, new, true = zone[inside], moment[inside], new[inside], true[inside]
        found = blocks(zone, moment, new, find_grid(zone, moment, new, "UTC"), span)
        assert found.known
        assert found.cut == len({(z, b) for z, b in zip(zone.tolist(), true.tolist(), strict=True) if b in (1, 14)})
        kept = found.of >= 0
        assert set(true[kept].tolist()) == set(range(2, 14))
        assert len(np.unique(found.of[kept])) == len({*zip(zone[kept].tolist(), true[kept].tolist(), strict=True)})
        whole = declared_grid(24, MARCH.start_us)
        assert (blocks(zone, moment, new, whole, span).of == found.of).all()

    def test_an_hour_is_too_much_of_a_short_block(self) -> None:
        rng = np.random.default_rng(4)
        zone, moment, new, _ = schedule(rng, 1, quiet=False)
        found = blocks(
            zone, moment, new, declared_grid(1, MARCH.start_us), (MARCH.start_us, MARCH.start_us + 14 * DAY_US)
        )
        assert found.washout_us == HOUR_US // 4
        assert np.count_nonzero(found.of >= 0) > 0.7 * len(moment)

    def test_zones_that_change_together_are_one_draw(self) -> None:
        rng = np.random.default_rng(5)
        zone, moment, _, true = schedule(rng, 12)
        draws = rng.random(true.max() + 1) < 0.5
        new = draws[true]
        found = blocks(
            zone, moment, new, find_grid(zone, moment, new, "UTC"), (MARCH.start_us, MARCH.start_us + 14 * DAY_US)
        )
        assert len(np.unique(found.zone)) == 1
        assert len(found.zone) == len(np.unique(true[found.of >= 0]))

    def test_changes_without_any_grid_have_a_figure_and_no_p(self) -> None:
        rng = np.random.default_rng(6)
        edges = [np.sort(rng.uniform(3, 24, 9)) for _ in range(6)]
        version = lambda z, d: "v2" if np.searchsorted(edges[z], d) % 2 else "v1"  # noqa: E731
        found = analysed(
            together(
                traffic(rng, version, zones=6, days=(3, 24), per_day=80, gain=0.08),
                declared({"day": 3.0, "unit": "zone_time", "assignment": "random"}),
            )
        )
        one = row(found)
        assert one.effect == pytest.approx(0.08, abs=0.03)
        assert one.p is None
        assert "declare block_h and starts" in one.reason

    @pytest.mark.parametrize("declare", [True, False], ids=["declared", "read off"])
    def test_true_nulls_of_days_with_quiet_nights(self, declare: bool) -> None:
        """Daily blocks whose figure the day makes: read as pieces of 6 or 1 h, a sixth of true nulls was rejected."""
        rejected = there = 0
        for seed in range(24):
            rng = np.random.default_rng([seed, 11])
            draws, shocks = rng.random((4, 40)) < 0.5, rng.normal(0, 0.06, (4, 40))
            version = lambda z, d, draws=draws: "v2" if draws[z, int(d)] else "v1"  # noqa: E731
            tables = together(
                traffic(rng, version, zones=4, days=(3, 24.4), per_day=60, drift=lambda z, d, s=shocks: s[z, int(d)]),
                declared(
                    {"day": 3.0, "ended_at": at(24.4), "unit": "zone_time", "assignment": "random"}
                    | ({"block_h": 24.0, "starts": at(3)} if declare else {})
                ),
            )
            one = row(analysed(tables))
            assert one.effect is not None
            assert "4 blocks that begin before or end after" in one.reason
            there += one.p is not None
            rejected += one.p is not None and one.p <= 0.05
        assert there == 24
        assert rejected <= 4


def test_a_change_may_declare_its_blocks() -> None:
    tables = declared({"day": 3.0, "unit": "zone_time", "block_h": 6.0, "starts": at(3, 2)})
    (found,) = ledger(tables, timezone="UTC")
    assert (found.block_h, found.block_starts_us) == (6.0, at(3, 2))
    assert json.loads(tables["changes"]["zones"][0] or "[]") == []


def test_who_comes_in_the_first_hour_of_a_block_and_again_does_not_lack_what_was_done_in_between() -> None:
    """Everybody rebooks half an hour after they came, and comes back an hour later: 100 % of those who count."""
    rng = np.random.default_rng(11)
    draws = rng.permuted(np.tile(np.arange(42) % 2 == 0, (6, 1)), axis=1)
    turn = lambda z, d: "v2" if d >= 3 and draws[z, int((d - 3) * 2)] else "v1"  # noqa: E731
    tables = traffic(rng, turn, zones=6, days=(3, 24), gain=0.8)
    x = tables["exposures"]
    again = x.assign(exposure_id=x["exposure_id"] + "b", occurred_at=x["occurred_at"] + HOUR_US)
    same = (again["occurred_at"] - at(3)) // (DAY_US // 2) == (x["occurred_at"] - at(3)) // (DAY_US // 2)
    tables["exposures"] = pd.concat([x, again[same]]).sort_values("occurred_at", ignore_index=True)
    tables["engagement"] = pd.DataFrame(
        {"event_id": x["subject"], "subject": x["subject"], "occurred_at": x["occurred_at"] + HOUR_US // 2,
         "name": "rebooked", "source": "app", "anonymous": 0}
    ).reindex(columns=list(COLUMNS["engagement"]))  # fmt: skip
    change = {"day": 3.0, "unit": "zone_time", "block_h": 12.0, "starts": at(3), "assignment": "random"}
    found = row(analysed(together(tables, declared(change))))
    assert (found.control, found.treated) == (1.0, 1.0)
    assert min(found.n_control, found.n_treated) > 50
