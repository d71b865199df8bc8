"""The MineThatData e-mail challenge as events, through ingest, process and `edgeloop uplift --json`.

The wanted figures are those of the data's own README: absolute effect, SE, interval, p and log-ratio interval of spend.
"""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "hillstrom.csv"
ARMS = {"No E-Mail": ("stable", "none"), "Mens E-Mail": ("mens", "mens"), "Womens E-Mail": ("womens", "womens")}

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not DATA.exists(), reason="the Hillstrom data is not here")]


def edgeloop(home: Path, *arguments: str) -> str:
    run = subprocess.run(
        [sys.executable, "-m", "edgeloop", *arguments, "--home", str(home)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("hillstrom")
    encode = msgspec.json.Encoder().encode
    with (folder / "events.ndjson").open("wb") as out, DATA.open(encoding="utf-8") as data:
        for i, row in enumerate(csv.DictReader(data)):
            arm, version = ARMS[row["segment"]]
            common = {"customer_id": f"H-{i}"}
            exposure = {
                "type": "exposure", "exposure_id": f"x{i}", "occurred_at": "2008-03-20T00:00:00Z", **common,
                "touchpoint": "email", "model_id": "campaign", "model_version": version, "arm": arm,
                "rollout_id": "hillstrom", "segment": row["history_segment"],
            }  # fmt: skip
            out.write(encode(exposure) + b"\n")
            for name in ("visit", "conversion"):
                if row[name] == "1":
                    event = {
                        "type": "engagement", "event_id": f"{name}-{i}", "occurred_at": "2008-03-21T00:00:00Z",
                        **common, "name": name, "source": "shop",
                    }  # fmt: skip
                    if name == "conversion":
                        event |= {"name": "spend", "value": float(row["spend"]), "currency": "USD"}
                    out.write(encode(event) + b"\n")
        # Seven days of later exposures without anybody's outcome: the month's data goes on, so windows complete.
        late = {
            "type": "exposure", "exposure_id": "late", "customer_id": "late", "occurred_at": "2008-03-30T00:00:00Z",
            "touchpoint": "email", "model_id": "other", "model_version": "1",
        }  # fmt: skip
        out.write(encode(late) + b"\n")
    home = folder / "home"
    edgeloop(home, "ingest", str(folder / "events.ndjson"))
    edgeloop(home, "process")
    found: list[dict[str, Any]] = msgspec.json.decode(edgeloop(home, "uplift", "--month", "2008-03", "--json"))
    return found


def one(rows: list[dict[str, Any]], version: str, metric: str) -> dict[str, Any]:
    (row,) = [r for r in rows if r["to_version"] == version and r["metric"] == metric]
    return row


def test_spend_of_mens_against_none_to_all_digits(rows: list[dict[str, Any]]) -> None:
    row = one(rows, "mens", "spend:value")
    assert row["n_control"] == 21_306
    assert row["n_treated"] == 21_307
    for column, wanted in (
        ("effect", 0.76982716),
        ("se", 0.14524656),
        ("effect_low", 0.48513973),
        ("effect_high", 1.05451458),
        ("lift", 1.17928877),
        ("lift_low", 0.62843211),
        ("lift_high", 1.91648606),
    ):
        assert round(row[column], 8) == wanted, column
    assert f"{row['p']:.4e}" == "1.1638e-07"


def test_shares_of_every_arm(rows: list[dict[str, Any]]) -> None:
    # 21,306 / 21,307 / 21,387 customers; visits 10.62, 18.28, 15.14 %; buyers 0.573, 1.253, 0.884 %
    for version, visit, bought, spend in (("mens", 0.1828, 0.01253, 1.423), ("womens", 0.1514, 0.00884, 1.077)):
        row = one(rows, version, "visit")
        assert (round(row["control"], 4), round(row["treated"], 4)) == (0.1062, visit)
        row = one(rows, version, "spend")
        assert (round(row["control"], 5), round(row["treated"], 5)) == (0.00573, bought)
        row = one(rows, version, "spend:value")
        assert (round(row["control"], 3), round(row["treated"], 3)) == (0.653, spend)


def test_one_day_of_entries_is_no_ground_for_a_verdict(rows: list[dict[str, Any]]) -> None:
    assert {row["verdict"] for row in rows if row["to_version"] in ("mens", "womens")} == {"keep testing"}
