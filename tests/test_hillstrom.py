"""The MineThatData e-mail challenge as events, through ingest, process and `edgeloop uplift --json`.

The wanted figures are those of the data's own README: absolute effect, SE, interval, p and log-ratio interval of spend.
"""

from __future__ import annotations

import csv
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from statsmodels.stats.multitest import multipletests

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "hillstrom.csv"
ARMS = {"No E-Mail": ("stable", "none"), "Mens E-Mail": ("mens", "mens"), "Womens E-Mail": ("womens", "womens")}

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not DATA.exists(), reason="the Hillstrom data is not here")]


def edgeloop(home: Path, *arguments: str) -> str:
    run = subprocess.run(
        [sys.executable, "-m", "edgeloop", *arguments, "--home", str(home)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


SETTINGS = """
[door]
earliest = 2000-01-01

[metrics.visit]
role = "goal"
headline = true
event = "visit"
covariate = {source = "none"}

[metrics.spend]
role = "goal"
event = "spend"
kind = "mean"
covariate = {source = "none"}

[metrics.spend_known]
role = "goal"
event = "spend"
kind = "mean"
covariate = {source = "engagement", name = "history", window_days = 14}

[metrics.bought]
event = "spend"
covariate = {source = "none"}

[metrics.spend_per_visit]
event = "spend"
kind = "ratio"
per = "visit"
"""
DAYS = 10


def events(row: dict[str, str], i: int) -> Iterator[dict[str, Any]]:
    """One customer: last year's money the day before, the mail, and what followed within two days."""
    arm, version = ARMS[row["segment"]]
    day = 5 + i % DAYS
    common = {"customer_id": f"H-{i}"}
    yield {
        "type": "exposure", "exposure_id": f"x{i}", "occurred_at": f"2008-03-{day:02d}T00:00:00Z", **common,
        "touchpoint": "email", "model_id": "campaign", "model_version": version, "arm": arm,
        "rollout_id": "hillstrom", "segment": row["history_segment"],
    }  # fmt: skip
    own = {"type": "engagement", **common, "source": "shop"}
    history = {"name": "history", "value": float(row["history"]), "currency": "USD"}
    yield own | {"event_id": f"h{i}", "occurred_at": f"2008-03-{day - 1:02d}T00:00:00Z"} | history
    for column, more in (
        ("visit", {"name": "visit"}),
        ("conversion", {"name": "spend", "value": float(row["spend"]), "currency": "USD"}),
    ):
        if row[column] == "1":
            yield own | {"event_id": f"{column}-{i}", "occurred_at": f"2008-03-{day + 1:02d}T00:00:00Z"} | more


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The estimates of everybody; segments have a test of their own."""
    folder = tmp_path_factory.mktemp("hillstrom")
    encode = msgspec.json.Encoder().encode
    with (folder / "events.ndjson").open("wb") as out, DATA.open(encoding="utf-8") as data:
        for version in ("mens", "womens"):
            change = {
                "type": "change", "change_id": version, "model_id": "campaign", "occurred_at": "2008-03-05T00:00:00Z",
                "to_version": version, "from_version": "none", "kind": "canary", "rollout_id": "hillstrom",
                "assignment": "random", "allocation": {"none": 1, "mens": 1, "womens": 1}, "planned_units": 42_000,
            }  # fmt: skip
            out.write(encode(change) + b"\n")
        for i, row in enumerate(csv.DictReader(data)):
            for event in events(row, i):
                out.write(encode(event) + b"\n")
    home = folder / "home"
    home.mkdir()
    (home / "edgeloop.toml").write_text(SETTINGS, encoding="utf-8")
    edgeloop(home, "ingest", str(folder / "events.ndjson"))
    edgeloop(home, "process")
    found: list[dict[str, Any]] = msgspec.json.decode(edgeloop(home, "uplift", "--month", "2008-03", "--json"))
    return [row for row in found if row["dimension"] == "all"]


def one(rows: list[dict[str, Any]], version: str, metric: str) -> dict[str, Any]:
    (row,) = [r for r in rows if r["to_version"] == version and r["metric"] == metric]
    return row


@pytest.mark.parametrize(
    ("metric", "estimator", "figures", "p"),
    [
        (
            "spend",
            "difference_in_means",
            "0.76982716 0.14524656 0.48513973 1.05451458 1.17928877 0.62843211 1.91648606",
            "1.1638e-07",
        ),
        (
            "spend_known",
            "cuped",
            "0.76743850 0.14521504 0.48281285 1.05206415 1.17348259 0.62459782 1.90781294",
            "1.2653e-07",
        ),
        (
            "spend_per_visit",
            "ratio",
            "1.63551690 0.98714052 -0.29929868 3.57033248 0.26599450 -0.05020263 0.68745684",
            "9.7563e-02",
        ),
    ],
)
def test_spend_of_mens_against_none_to_all_digits(
    rows: list[dict[str, Any]], metric: str, estimator: str, figures: str, p: str
) -> None:
    row = one(rows, "mens", metric)
    assert (row["n_control"], row["n_treated"], row["estimator"]) == (21_306, 21_307, estimator)
    columns = ("effect", "se", "effect_low", "effect_high", "lift", "lift_low", "lift_high")
    assert [f"{row[column]:.8f}" for column in columns] == figures.split()
    assert f"{row['p']:.4e}" == p


def test_shares_of_every_arm(rows: list[dict[str, Any]]) -> None:
    # 21,306 / 21,307 / 21,387 customers; visits 10.62, 18.28, 15.14 %; buyers 0.573, 1.253, 0.884 %
    for version, visit, bought, spend in (("mens", 0.1828, 0.01253, 1.423), ("womens", 0.1514, 0.00884, 1.077)):
        row = one(rows, version, "visit")
        assert (round(row["control"], 4), round(row["treated"], 4)) == (0.1062, visit)
        row = one(rows, version, "bought")
        assert (round(row["control"], 5), round(row["treated"], 5)) == (0.00573, bought)
        row = one(rows, version, "spend")
        assert (round(row["control"], 3), round(row["treated"], 3)) == (0.653, spend)


def test_both_arms_share_one_family(rows: list[dict[str, Any]]) -> None:
    """Benjamini and Hochberg over three goals of two changes, by statsmodels."""
    family = [r for r in rows if r["metric"] in ("visit", "spend", "spend_known")]
    assert len(family) == 6
    assert {r["decided_by"] for r in family} == {"fixed"}, "the plan is reached"
    _, adjusted, _, _ = multipletests([r["p"] for r in family], method="fdr_bh")
    assert [r["p_adjusted"] for r in family] == pytest.approx(list(adjusted))
    assert [r["p_adjusted"] for r in family] != [r["p"] for r in family]
    for r in family:
        assert (r["p_adjusted"] <= 0.05) == (not r["decision_low"] <= 0 <= r["decision_high"])
    assert {r["verdict"] for r in rows if r["to_version"] in ("mens", "womens")} == {"promote"}


def test_the_sample_ratio_is_that_of_three_arms(rows: list[dict[str, Any]]) -> None:
    expected = 64_000 / 3
    statistic = sum((n - expected) ** 2 / expected for n in (21_306, 21_307, 21_387))
    for version in ("mens", "womens"):
        assert one(rows, version, "visit")["srm_p"] == pytest.approx(math.exp(-statistic / 2))  # χ² of two degrees
