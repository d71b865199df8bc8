"""A full switch beside what moves its days anyway: declared daily series, the season of the year, and the p95."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis import Analysis, analyse
from analysis.estimators.switch import switch_effect
from analysis.switches import SEASON_DAYS, daily_values
from edgeloop.clock import DAY_US, HOUR_US
from edgeloop.metrics import MetricSettings, metrics_in_force
from edgeloop.store.facts import Regressed
from edgeloop.store.rows import Estimate
from tests.frames import COLUMNS, LATER, MARCH, World, at, frames

NAN = float("nan")
SWITCH_DAY = 10  # of March
TRUE = 0.04


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ({"regressors": ["price", "price"]}, "each is named once"),
        ({"regressors": [""]}, "each is named once"),
        ({"regressors": ["tip"]}, "does not explain itself"),
        ({"regressors": list("abcdefg")}, "at most 6"),
    ],
)
def test_wrong_regressors_are_named(section: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        metrics_in_force({"tips": {"event": "tip", **section}})


def test_regressors_are_a_setting_of_a_metric() -> None:
    found = metrics_in_force({"conversion": {"regressors": ["price", "holidays"]}})["conversion"]
    assert found.regressors == ("price", "holidays")


@pytest.mark.parametrize(
    ("events", "wanted"),
    [
        (
            [(1, 2.0), (1, 4.0), (3, 5.0)],
            [3.0, 3.0, 3.0, 5.0, 5.0],
        ),  # the mean, carried on
        ([(0, 1.0), (4, NAN), (4, 3.0)], [1.0, 1.0, 1.0, 1.0, 3.0]),  # what says nothing does not count
        ([(0, NAN), (2, NAN), (2, NAN)], [1.0, 0.0, 2.0, 0.0, 0.0]),  # no values at all: how many
        ([(9, 1.0)], [NAN] * 5),  # outside
    ],
)
def test_events_as_a_daily_series(events: list[tuple[int, float]], wanted: list[float]) -> None:
    days = np.arange(6, dtype=np.int64) * DAY_US
    when = np.array([day * DAY_US + HOUR_US for day, _ in events], dtype=np.int64)
    found = daily_values(when, np.array([value for _, value in events]), days)
    assert found.tolist() == pytest.approx(wanted, nan_ok=True)


def test_a_regressor_takes_its_part_out_of_the_effect() -> None:
    """A price that rises with the switch: without it the effect is biased by what the price does, with it not."""
    before, after, beta = 84, 14, 0.01
    biases: dict[str, list[float]] = {"without": [], "with": []}
    covered = 0
    for seed in range(16):
        rng = np.random.default_rng(seed)
        people = rng.poisson(600, before + after).astype(float)
        price = np.zeros(before + after)
        for i in range(1, before + after):
            price[i] = 0.9 * price[i - 1] + rng.normal(0, 1)
        price[before:] += 2.0
        rate = 0.2 + 0.02 * np.sin(np.arange(before + after) * 2 * np.pi / 7) + beta * price
        rate[before:] += TRUE
        sums = rng.binomial(people.astype(int), np.clip(rate, 0.01, 0.9)).astype(float)
        for name, table in (("without", np.zeros((before + after, 0))), ("with", price[:, None])):
            found = switch_effect(sums, people, before, table)
            biases[name].append(found.effect - TRUE)
            if name == "with":
                low, high = found.interval() or (0.0, 0.0)
                covered += low <= TRUE <= high
    assert np.mean(biases["without"]) > 0.012
    assert abs(np.mean(biases["with"])) < 0.003
    assert covered >= 14  # of 16


def test_what_did_not_vary_before_has_no_coefficient() -> None:
    rng = np.random.default_rng(3)
    people = np.full(98, 500.0)
    sums = rng.binomial(500, 0.2, 98).astype(float)
    holiday = np.zeros((98, 1))
    holiday[90] = 1.0
    plain = switch_effect(sums, people, 84, np.zeros((98, 0)))
    assert switch_effect(sums, people, 84, holiday).effect == plain.effect


def switched(
    days: int, rate: Any, *, people: int = 200, latency: tuple[float, float] | None = None, feed: Any = None
) -> dict[str, pd.DataFrame]:
    """``eta`` for everybody, v2 from 10 March on; ``rate`` of a day before the effect, ``feed`` of prices."""
    rng = np.random.default_rng(11)
    exposures, engagement = [], []
    for day in range(SWITCH_DAY - days, 26):
        who = [f"d{day}-{i}" for i in range(people)]
        new = day >= SWITCH_DAY
        when = at(day) + rng.integers(0, 20, people) * HOUR_US
        exposures.append(
            pd.DataFrame(
                {"exposure_id": who, "subject": who, "occurred_at": when, "anonymous": 0, "model_id": "eta",
                 "model_version": "v2" if new else "v1", "arm": "stable",
                 "latency_ms": rng.gamma(6, 40, people) + (latency[int(new)] if latency else 0.0)}
            )
        )  # fmt: skip
        did = rng.random(people) < rate(day) + (TRUE if new else 0.0)
        engagement.append(
            pd.DataFrame(
                {"event_id": who, "subject": who, "occurred_at": when + HOUR_US, "name": "tip", "source": "app",
                 "anonymous": 0}
            )[did]
        )  # fmt: skip
        if feed is not None:
            engagement.append(
                pd.DataFrame(
                    {"event_id": [f"p{day}"], "subject": [f"nobody{day}"], "occurred_at": [at(day)], "name": ["price"],
                     "source": ["pricing"], "value": [feed(day)], "anonymous": [1]}
                )
            )  # fmt: skip
    world = World()
    world.declare(SWITCH_DAY, "switch", change_id="all", rollout_id=None)
    tables = frames() | {
        "exposures": pd.concat(exposures).reindex(columns=list(COLUMNS["exposures"])),
        "engagement": pd.concat(engagement).reindex(columns=list(COLUMNS["engagement"])),
        "changes": world.tables()["changes"],
    }
    return {
        name: frame.sort_values("occurred_at", ignore_index=True) if len(frame) and "occurred_at" in frame else frame
        for name, frame in tables.items()
    }


def run(tables: dict[str, pd.DataFrame], *regressors: str, **options: Any) -> Analysis:
    metrics = {
        "tips": MetricSettings(role="goal", headline=True, event="tip", window_h=24.0, regressors=tuple(regressors)),
        "latency_p95": MetricSettings(
            role="guardrail", source="exposures", event="latency_ms", kind="quantile", direction="down", margin=50.0
        ),
    }
    return analyse(tables, MARCH, freeze_id="f", as_of_us=LATER, metrics=metrics, **options)


def row(found: Analysis, metric: str = "tips") -> Estimate:
    return next(e for e in found.estimates if e.metric == metric)


def told(e: Estimate) -> Regressed | None:
    return next((fact for fact in e.facts if isinstance(fact, Regressed)), None)


def price(day: int) -> float:
    """Drawn once; it rises with the switch and stays up."""
    return float(np.random.default_rng(day + 1_000).normal(0, 1)) + (2.5 if day >= SWITCH_DAY else 0.0)


class TestPipe:
    def test_a_feed_of_prices_that_no_customer_sent(self) -> None:
        tables = switched(120, lambda day: 0.3 + 0.04 * price(day), feed=price)
        plain, beside = row(run(tables)), row(run(tables, "price"))
        assert plain.effect is not None
        assert beside.effect is not None
        assert plain.effect - TRUE > 0.06
        assert beside.effect == pytest.approx(TRUE, abs=0.03)
        assert told(plain) is None
        assert told(beside) == Regressed(("price",))
        assert "beside it price" in str(beside.reason)
        assert {e.metric for e in run(tables, "price").estimates} == {"tips", "latency_p95"}  # a price is no metric

    def test_holidays_and_what_nobody_sent(self) -> None:
        closed = [f"2026-{m:02d}-{d:02d}" for m, d in ((1, 1), (1, 6), (2, 2), (2, 16), (3, 17), (3, 19))]
        shut = {(int(day[5:7]), int(day[8:])) for day in closed}

        def rate(day: int) -> float:
            when = pd.Timestamp("2026-03-01") + pd.Timedelta(days=day)
            return 0.02 if (when.month, when.day) in shut else 0.3

        tables = switched(100, rate)
        plain, beside = row(run(tables)), row(run(tables, "holidays", "oil", holidays=closed))
        assert told(beside) == Regressed(("holidays",), ("oil",))
        assert beside.effect is not None
        assert plain.effect is not None
        assert abs(beside.effect - TRUE) < abs(plain.effect - TRUE)
        assert "without oil: no days before the switch on which it varies" in str(beside.reason)

    def test_two_years_of_days_have_a_season(self) -> None:
        def rate(day: int) -> float:
            return 0.3 + 0.1 * float(np.sin(2 * np.pi * day / 365.25))

        long, short = switched(SEASON_DAYS + 1, rate, people=60), switched(300, rate, people=60)
        assert told(row(run(short))) is None
        found = row(run(long))
        assert told(found) == Regressed(season=True)
        assert found.effect == pytest.approx(TRUE, abs=0.06)
        assert found.se is not None
        assert found.se < (row(run(short)).se or 0)

    @pytest.mark.parametrize(("after", "state"), [(400.0, "breach"), (0.0, "cleared")])
    def test_the_p95_has_a_row_and_a_guardrail_in_ms(self, after: float, state: str) -> None:
        found = run(switched(120, lambda _: 0.3, latency=(0.0, after)))
        e = row(found, "latency_p95")
        assert (e.metric_kind, e.grade, e.estimator, e.decided_by) == (
            "quantile", "before_after", "structural_time_series", "placebo",
        )  # fmt: skip
        assert e.effect == pytest.approx(after, abs=30)
        usual = float(np.quantile(np.random.default_rng(1).gamma(6, 40, 10**6), 0.95))
        assert e.control == pytest.approx(usual, rel=0.1)
        assert e.guard == state
        assert (e.verdict == "roll back") == (state == "breach")
