"""Published comparisons as events through the whole pipe: a ramp by zone, a draw, and one that is refused.

Sources and licences of the data: tests/data/README.md.
"""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

DATA = Path(__file__).parent / "data"
pytestmark = pytest.mark.slow


def edgeloop(home: Path, *arguments: str) -> str:
    run = subprocess.run(
        [sys.executable, "-m", "edgeloop", *arguments, "--home", str(home)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def estimates(folder: Path, settings: str, events: Iterable[dict[str, Any]], month: str) -> list[dict[str, Any]]:
    encode = msgspec.json.Encoder().encode
    (folder / "events.ndjson").write_bytes(b"".join(encode(event) + b"\n" for event in events))
    home = folder / "home"
    home.mkdir()
    (home / "edgeloop.toml").write_text(f"door.earliest = 1970-01-01\n{settings}", encoding="utf-8")
    edgeloop(home, "ingest", str(folder / "events.ndjson"))
    edgeloop(home, "process")
    found: list[dict[str, Any]] = msgspec.json.decode(edgeloop(home, "uplift", "--month", month, "--json"))
    return [row for row in found if row["dimension"] == "all"]


def iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_active_choice_in_california(tmp_path: Path) -> None:
    """Kessler & Roth 2014: DiD −0.0225, clustered SE 0.0067, and 5 of 27 states moved at least as much (p 0.185).

    A quarter is a week here, a state a zone, its rate what each of 28 of its people is worth.
    """
    start = datetime(2011, 7, 4, tzinfo=UTC)

    def events() -> Iterable[dict[str, Any]]:
        yield {
            "type": "change", "change_id": "active-choice", "model_id": "register", "occurred_at": iso(start),
            "to_version": "2", "from_version": "1", "kind": "staged", "unit": "zone", "zones": ["California"],
        }  # fmt: skip
        with (DATA / "organ_donation.csv").open(encoding="utf-8") as data:
            for row in csv.DictReader(data):
                week = int(row["Quarter_Num"]) - 4
                for i in range(28):
                    at = start + timedelta(weeks=week, hours=6 * i)
                    who = f"{row['State']}-{week}-{i}"
                    new = row["State"] == "California" and week >= 0
                    yield {
                        "type": "exposure", "exposure_id": who, "customer_id": who, "occurred_at": iso(at),
                        "touchpoint": "office", "model_id": "register", "model_version": "2" if new else "1",
                        "zone": row["State"],
                    }  # fmt: skip
                    yield {
                        "type": "engagement", "event_id": who, "customer_id": who, "name": "registered",
                        "source": "dmv", "occurred_at": iso(at + timedelta(minutes=5)), "value": float(row["Rate"]),
                    }  # fmt: skip

    settings = """
[metrics.registered]
role = "goal"
headline = true
event = "registered"
kind = "mean"
window_h = 1
covariate = {source = "none"}
"""
    found = estimates(tmp_path, settings, events(), "2011-07")
    rows = {r["estimator"]: r for r in found if r["metric"] == "registered"}
    assert set(rows) == {"staged", "synthetic_control"}, "few zones, so a weighted combination stands beside"
    row = rows["staged"]
    assert (row["estimator"], row["grade"], row["decided_by"]) == ("staged", "quasi", "permutation")
    assert (row["n_control"], row["n_treated"]) == (26, 1)
    assert round(row["effect"], 4) == -0.0225
    assert round(row["se"], 4) == 0.0067
    assert round(row["p"], 3) == 0.185
    assert row["reason"].startswith("no clear change")


def lalonde(file: str, *, drawn: bool) -> Iterable[dict[str, Any]]:
    """One person a row, earnings of 1978 as a sum; the training began on a day of their own in March."""
    start = datetime(1978, 3, 1, 8, tzinfo=UTC)
    with (DATA / file).open(encoding="utf-8") as data:
        for i, row in enumerate(csv.DictReader(data)):
            new, at = row["treat"] == "1", start + timedelta(days=i % 14)
            exposure = {
                "type": "exposure", "exposure_id": f"{file}{i}", "customer_id": f"{file}{i}", "occurred_at": iso(at),
                "touchpoint": "office", "model_id": "training", "model_version": "programme" if new else "none",
            }  # fmt: skip
            yield exposure | ({"rollout_id": "nsw", "arm": "canary" if new else "stable"} if drawn else {})
            if float(row["re78"]) > 0:
                yield {
                    "type": "engagement", "event_id": f"{file}{i}", "customer_id": f"{file}{i}", "name": "earned",
                    "source": "survey", "occurred_at": iso(at + timedelta(hours=1)), "value": float(row["re78"]),
                    "currency": "USD",
                }  # fmt: skip


EARNED = """
[metrics.earned]
role = "goal"
headline = true
event = "earned"
kind = "mean"
covariate = {source = "none"}
"""


def test_the_randomised_figure_of_lalonde(tmp_path: Path) -> None:
    """Dehejia & Wahba 1999: 185 trained and 260 controls of the National Supported Work programme, 1,794 dollars."""
    change = {
        "type": "change", "change_id": "training", "model_id": "training", "occurred_at": "1978-03-01T00:00:00Z",
        "from_version": "none", "to_version": "programme", "kind": "canary", "rollout_id": "nsw",
        "assignment": "random",
    }  # fmt: skip
    events = [change, *lalonde("nsw.csv", drawn=True)]
    (row,) = [r for r in estimates(tmp_path, EARNED, events, "1978-03") if r["metric"] == "earned"]
    assert (row["n_control"], row["n_treated"], row["grade"]) == (260, 185, "randomised")
    assert round(row["effect"], 1) == 1794.3
    assert round(row["se"], 1) == 671.0


def test_labels_alone_do_not_make_his_naive_comparison_a_draw(tmp_path: Path) -> None:
    """The trained against people of the census, labelled as arms of one rollout: −8,472 dollars, not caused."""
    trained = (e for e in lalonde("nsw.csv", drawn=True) if not str(e).count("'none'"))
    rows = estimates(tmp_path, EARNED, [*trained, *lalonde("cps.csv", drawn=True)], "1978-03")
    (row,) = [r for r in rows if r["metric"] == "earned"]
    assert (row["n_control"], row["n_treated"], row["grade"]) == (1_999, 185, "labelled")
    assert round(row["effect"]) == -8_472
    assert "labelled as drawn: nobody declared an allocation or a random assignment" in row["reason"]


def test_his_naive_comparison_with_the_census_is_refused(tmp_path: Path) -> None:
    """The trained against people of the Current Population Survey, −8,498 dollars: nothing says who was drawn."""
    trained = (e for e in lalonde("nsw.csv", drawn=False) if not str(e).count("'none'"))
    change = {
        "type": "change", "change_id": "training", "model_id": "training", "occurred_at": "1978-03-01T00:00:00Z",
        "from_version": "none", "to_version": "programme", "kind": "canary",
    }  # fmt: skip
    (row,) = estimates(tmp_path, EARNED, [change, *trained, *lalonde("cps.csv", drawn=False)], "1978-03")
    assert (row["metric"], row["effect"], row["verdict"]) == ("*", None, "keep testing")
    assert row["reason"].startswith("no rollout_id and no declared random assignment, so nothing says that the arms")
