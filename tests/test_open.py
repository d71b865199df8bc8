"""`edgeloop.open()` and `edgeloop.compare()`: frames with proper types, and the product's estimators on them."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import edgeloop
from edgeloop.app.cli import run
from edgeloop.app.notebook import Edgeloop
from edgeloop.errors import EdgeloopError, HomeError, UsageError
from edgeloop.store.base import StatementError
from edgeloop.store.rows import Estimate
from edgeloop.store.schema import TABLES
from tests.small_company import CUSTOMERS, MONTH, NEW, events, make_frozen

HILLSTROM = Path(__file__).resolve().parents[2] / "shared" / "data" / "hillstrom.csv"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_frozen(tmp_path_factory.mktemp("company") / "home")


@pytest.fixture
def home(folder: Path) -> Edgeloop:
    opened: Edgeloop = edgeloop.open(folder)
    return opened


def test_open_takes_the_home_that_is_meant(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Finch Parcels" in repr(edgeloop.open(str(folder)))
    monkeypatch.setenv("EDGELOOP_HOME", str(folder))
    assert edgeloop.open().home.path == folder
    monkeypatch.delenv("EDGELOOP_HOME")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HomeError, match=r"no Edgeloop home at \.edgeloop"):
        edgeloop.open()
    assert not list(tmp_path.iterdir())


def test_the_names_are_lazy_and_hide_nothing() -> None:
    assert {"open", "compare", "__version__"} <= set(dir(edgeloop))
    assert "open" not in edgeloop.__all__, "a star import must not hide Python's own"
    with pytest.raises(AttributeError, match="frobnicate"):
        _ = edgeloop.frobnicate
    program = "import sys, edgeloop; print(sorted(m for m in sys.modules if m.startswith(('edgeloop.', 'analysis'))))"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_a_file_that_hides_a_room_is_named(tmp_path: Path) -> None:
    (tmp_path / "analysis.py").write_text("x = 1\n")
    ran = subprocess.run(
        [sys.executable, "-c", "import edgeloop; edgeloop.open()"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={"PYTHONPATH": str(Path(edgeloop.__file__).parents[1])},
    )  # fmt: skip
    assert "analysis.py hides Edgeloop's own analysis/" in ran.stderr.splitlines()[-1]


@pytest.mark.parametrize("table", [table.name for table in TABLES])
def test_live_and_frozen_frames_have_the_same_types(home: Edgeloop, table: str) -> None:
    kinds = {
        "text": "string", "json": "string", "int": "Int64", "real": "float64", "bool": "boolean",
        "time": "datetime64[us, UTC]",
    }  # fmt: skip
    (wanted,) = [
        {column.name: kinds[column.kind] for column in t.columns if column.kind != "blob"}
        for t in TABLES
        if t.name == table
    ]
    frames = [home.frame(table)]
    if table in home.freeze(MONTH).manifest.tables:
        frames.append(home.freeze(MONTH).frame(table))
    for frame in frames:
        assert {name: str(kind) for name, kind in frame.dtypes.items()} == wanted


def test_rows_are_those_asked_for(home: Edgeloop) -> None:
    exposures = home.frame("exposures")
    assert len(exposures) == CUSTOMERS
    canary = home.frame("exposures", where={"arm": "canary"}, columns=["exposure_id", "arm"])
    assert list(canary.columns) == ["exposure_id", "arm"]
    assert set(canary["exposure_id"]) == {f"x-{i}" for i in NEW}
    few = ["x-1", "x-2", "x-9999"]
    assert sorted(home.frame("exposures", where={"exposure_id": few})["exposure_id"]) == ["x-1", "x-2"]
    assert len(home.frame("exposures", where={"exposure_id": []})) == 0
    assert len(home.frame("exposures", where={"fallback": True})) == CUSTOMERS // 50
    assert len(home.frame("exposures", where={"error": None, "features": np.int64(9)})) == CUSTOMERS
    first = exposures["occurred_at"].min()
    assert first == pd.Timestamp("2026-03-02T08:00:00Z")
    for moment in (first, first.tz_convert("Europe/Berlin"), datetime(2026, 3, 2, 8, tzinfo=UTC)):
        assert len(home.frame("exposures", where={"occurred_at": moment})) == 1
    slow = home.frame("exposures", where="latency_ms > 400 AND arm = 'stable'")
    assert len(slow) == ((exposures["latency_ms"] > 400) & (exposures["arm"] == "stable")).sum() > 0
    orders = home.frame("engagement")
    by_month = [len(home.frame("engagement", month=name)) for name in ("2026-02", "2026-03", "2026-04")]
    assert (sum(by_month), by_month[2]) == (len(orders), 1)
    assert min(by_month) > 0


def test_sql_gives_times_as_times(home: Edgeloop) -> None:
    query = "SELECT occurred_at, fallback, arm AS which FROM exposures WHERE occurred_at < ? AND arm = ?"
    until = pd.Timestamp("2026-03-05", tz="UTC")
    frame = home.sql(query, [until, "canary"])
    assert [str(kind) for kind in frame.dtypes] == ["datetime64[us, UTC]", "boolean", "string"]
    assert 0 < len(frame) == (home.frame("exposures", where={"arm": "canary"})["occurred_at"] < until).sum()
    frozen = home.freeze(MONTH).sql(query, [until, "canary"])
    pd.testing.assert_frame_equal(
        frame.sort_values("occurred_at", ignore_index=True), frozen.sort_values("occurred_at", ignore_index=True)
    )
    assert len(home.sql("SELECT * FROM version_daily")) > 20
    assert home.sql("SELECT 1 AS a WHERE 0").columns.tolist() == ["a"]
    with pytest.raises(StatementError, match="read-only"):
        home.sql("DELETE FROM exposures")


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda home: home.frame("exposure"), "there is no table 'exposure'; there are exposures"),
        (lambda home: home.frame("version_daily"), r"is a view: `\.sql\("),
        (lambda home: home.frame("exposures", columns=["when"]), "no column 'when'"),
        (lambda home: home.frame("exposures", where={"when": 1}), "no column 'when'"),
        (lambda home: home.frame("exposures", where={"occurred_at": datetime(2026, 3, 1)}), "has no zone"),  # noqa: DTZ001
        (lambda home: home.frame("exposures", where={"arm": {"a": object()}["a"]}), "no value of a column"),
        (lambda home: home.frame("exposures", month="March"), "write it as YYYY-MM"),
        (lambda home: home.frame("offsets", month=MONTH), "no time to tell a month by"),
        (lambda home: home.frame("dead_letters", columns=["sealed"]), "no column 'sealed' to read"),
        (lambda home: home.freeze("2026-03-zzz"), "there is no freeze"),
        (lambda home: home.freeze(MONTH).frame("offsets"), "has no table 'offsets'"),
        (lambda home: home.freeze(MONTH).frame("exposures", columns=["when"]), "no column 'when'"),
    ],
)
def test_what_is_not_there_is_named(home: Edgeloop, ask: Callable[[Edgeloop], Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        ask(home)


def test_freezes_are_listed_and_read_as_they_are(home: Edgeloop, folder: Path) -> None:
    (row,) = home.freezes().to_dict("records")
    frozen = home.freeze(MONTH)
    assert (row["month"], row["freeze_id"], row["provisional"]) == (MONTH, frozen.manifest.freeze_id, False)
    assert row["as_of"].tz is not None
    assert repr(home.freeze(frozen.manifest.freeze_id)) == repr(frozen)
    file = frozen.path / "answers.parquet"
    whole = file.read_bytes()
    try:
        file.write_bytes(b"PAR1" + whole)
        with pytest.raises(EdgeloopError, match="is not the file that"):
            frozen.frame("answers")
    finally:
        file.write_bytes(whole)


def test_estimates_are_those_of_uplift(home: Edgeloop, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run(["uplift", "--month", MONTH, "--json", "--home", str(folder)]) == 0
    wanted = json.loads(capsys.readouterr().out)
    found = home.estimates(MONTH)
    assert list(found.columns) == list(Estimate.__struct_fields__)
    assert len(found) == len(wanted) > 0
    for row, estimate in zip(found.to_dict("records"), wanted, strict=True):
        told = {name: None if pd.isna(cell) else cell for name, cell in row.items()}
        # A frame has facts as the table has them, as JSON text.
        assert told | {"facts": json.loads(told["facts"]) if told["facts"] else []} == estimate
    kept = home.frame("estimates", month=MONTH)
    assert kept["effect"].dropna().tolist() == found["effect"].dropna().tolist()
    assert set(home.checks(MONTH)["change_id"]) == {"rebook-2.1"}


def test_remarks_are_those_of_the_month_with_theme_and_sentiment(home: Edgeloop) -> None:
    found = home.remarks(MONTH)
    wrote = {event["response_id"]: event for event in events() if event["type"] == "response"}
    assert len(found) == len(wrote) > 100
    assert set(found["text"]) == {"+1 very good"}
    assert set(found["scored_by"]) == {"number"}
    assert set(found["themes"]) == {""}
    for response, sentiment in zip(found["response_id"], found["sentiment"], strict=True):
        (csat, *_) = next(event["answers"] for name, event in wrote.items() if response.endswith(name))
        assert sentiment == ("positive" if csat["value"] >= 4 else "neutral" if csat["value"] == 3 else "negative")
    assert str(found["occurred_at"].dtype) == "datetime64[us, UTC]"


def test_looking_at_a_month_that_is_not_frozen_makes_only_a_provisional_freeze(home: Edgeloop, folder: Path) -> None:
    store = (folder / "store.sqlite").read_bytes()
    april = home.freeze("2026-04")
    assert april.manifest.provisional
    home.estimates("2026-04")
    assert (folder / "store.sqlite").read_bytes() == store
    assert {path.name for path in (folder / "freezes").iterdir()} == {MONTH, "2026-04.provisional"}


# compare


def units(n: int = 400, seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    arm = np.where(rng.random(n) < 0.4, "canary", "stable")
    before = rng.gamma(3, 10, n)
    value = before * 0.8 + rng.gamma(2, 5, n) + (arm == "canary") * 4
    return pd.DataFrame(
        {
            "who": [f"u{i}" for i in range(n)], "arm": arm, "value": value, "before": before,
            "orders": 1.0 + rng.poisson(2, n), "did": (rng.random(n) < 0.3).astype(float),
        }
    )  # fmt: skip


ARMS = {"control": "stable", "treated": "canary"}


def test_compare_is_welch_and_the_log_of_the_ratio() -> None:
    frame = units()
    found = edgeloop.compare(frame, value="value", **ARMS)
    treated, control = (frame.loc[frame["arm"] == arm, "value"] for arm in ("canary", "stable"))
    welch = stats.ttest_ind(treated, control, equal_var=False)
    interval = welch.confidence_interval()
    assert (found.n_control, found.n_treated) == (len(control), len(treated))
    assert found.effect == pytest.approx(treated.mean() - control.mean(), rel=1e-12)
    assert found.p == pytest.approx(welch.pvalue, rel=1e-9)
    assert (found.effect_low, found.effect_high) == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert found.lift == pytest.approx(treated.mean() / control.mean() - 1, rel=1e-12)
    assert found.lift_low is not None
    assert found.lift_high is not None
    assert found.lift_low < found.lift < found.lift_high
    narrow = edgeloop.compare(frame, value="value", alpha=0.5, **ARMS)
    assert found.effect_low < narrow.effect_low < narrow.effect_high < found.effect_high
    assert found.frame().columns.tolist()[:4] == ["estimator", "n_control", "n_treated", "control"]
    assert (found.always_low, found.always_p) == (None, None)


def test_rows_of_one_unit_are_added_up_and_other_arms_left_alone() -> None:
    frame = units()
    halves = pd.concat([frame.assign(value=frame["value"] / 4), frame.assign(value=frame["value"] * 3 / 4)])
    other = frame.assign(arm="mens", who=frame["who"] + "x", value=np.nan)
    whole = edgeloop.compare(frame, value="value", covariate="before", **ARMS)
    parts = edgeloop.compare(pd.concat([halves, other]), value="value", covariate="before", unit="who", **ARMS)
    assert whole.estimator == parts.estimator == "cuped"
    pd.testing.assert_frame_equal(whole.frame(), parts.frame(), rtol=1e-9)
    assert edgeloop.compare(halves, value="value", **ARMS).n_control == 2 * whole.n_control, "without a unit, rows"


def test_a_proportion_a_score_and_a_ratio_have_their_own_variance() -> None:
    frame = units()
    share = edgeloop.compare(frame, value="did", kind="proportion", **ARMS)
    mean = edgeloop.compare(frame, value="did", **ARMS)
    p, n = share.control, share.n_control
    q, m = share.treated, share.n_treated
    assert share.se == pytest.approx(math.sqrt(p * (1 - p) / n + q * (1 - q) / m), rel=1e-12)
    assert mean.se == pytest.approx(math.sqrt(p * (1 - p) / (n - 1) + q * (1 - q) / (m - 1)), rel=1e-12)
    score = edgeloop.compare(frame.assign(nps=frame["did"] * 200 - 100), value="nps", kind="nps", **ARMS)
    assert (score.lift, score.control) == (None, pytest.approx(200 * p - 100))
    ratio = edgeloop.compare(frame, value="value", denominator="orders", **ARMS)
    stable = frame[frame["arm"] == "stable"]
    assert ratio.estimator == "ratio"
    assert ratio.control == pytest.approx(stable["value"].sum() / stable["orders"].sum(), rel=1e-12)


def test_a_covariate_sharpens_and_history_may_be_absent() -> None:
    frame = units()
    plain = edgeloop.compare(frame, value="value", **ARMS)
    adjusted = edgeloop.compare(frame, value="value", covariate="before", **ARMS)
    assert adjusted.estimator == "cuped"
    assert plain.se is not None
    assert adjusted.se is not None
    assert adjusted.se < 0.6 * plain.se
    some = edgeloop.compare(frame.assign(before=frame["before"].where(frame.index % 3 > 0)), value="value",
                            covariate="before", **ARMS)  # fmt: skip
    assert adjusted.se < (some.se or 0) < plain.se
    none = edgeloop.compare(frame.assign(before=0.0), value="value", covariate="before", **ARMS)
    assert (none.estimator, none.effect) == ("difference_in_means", plain.effect)
    ratio = edgeloop.compare(frame, value="value", denominator="orders", covariate="before", **ARMS)
    assert ratio.estimator == "cuped"


@pytest.mark.parametrize(
    ("change", "options", "says"),
    [
        ({}, {"value": "worth"}, "no column 'worth'; it has who, arm"),
        ({}, {"treated": "mens"}, r"no row has arm = 'mens'; there are 'canary', 'stable'"),
        ({"value": np.nan}, {}, r"rows have no value: write 0 where nothing happened"),
        ({"value": "much"}, {}, "does not hold numbers"),
        ({"value": np.inf}, {}, "holds infinity"),
        ({"who": "one"}, {"unit": "who"}, "1 units are in both arms"),
        ({"who": None}, {"unit": "who"}, "have no who"),
        ({"who": "one", "arm": "stable"}, {"unit": "who", "treated": "stable"}, "same arm"),
        ({}, {"kind": "proportion"}, "a unit's value of a proportion is one of 0, 1"),
        ({}, {"kind": "nps", "denominator": "orders"}, "a ratio has no kind"),
        ({}, {"alpha": 5}, "alpha is between 0 and 1"),
        ({"orders": 0.0}, {"denominator": "orders"}, "add up to 0"),
    ],
)
def test_what_cannot_be_compared_is_said(change: dict[str, Any], options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        edgeloop.compare(units().assign(**change), **{"value": "value", **ARMS, **options})


def test_a_covariate_is_one_figure_a_unit() -> None:
    frame = units()
    twice = pd.concat([frame, frame.assign(before=frame["before"] + 1)])
    with pytest.raises(UsageError, match="differs between rows of one unit"):
        edgeloop.compare(twice, value="value", covariate="before", unit="who", **ARMS)


@pytest.mark.skipif(not HILLSTROM.exists(), reason="the Hillstrom data is not here")
def test_the_vectors_of_hillstrom_through_a_frame() -> None:
    """statistics, Vectors: spend of the mens' mail against none."""
    with HILLSTROM.open(encoding="utf-8") as file:
        frame = pd.DataFrame(csv.DictReader(file))
    frame = frame.rename(columns={"segment": "arm"}).astype({"spend": float, "history": float, "visit": float})
    arms = {"control": "No E-Mail", "treated": "Mens E-Mail"}

    def rounded(*cells: float | None) -> list[float]:
        return [round(cell, 8) for cell in cells if cell is not None]

    plain = edgeloop.compare(frame, value="spend", planned_units=5_000, **arms)
    assert rounded(plain.effect, plain.effect_low, plain.effect_high, plain.se) == [
        0.76982716, 0.48513973, 1.05451458, 0.14524656,
    ]  # fmt: skip
    assert f"{plain.p:.4e}" == "1.1638e-07"
    assert rounded(plain.lift, plain.lift_low, plain.lift_high) == [1.17928877, 0.62843211, 1.91648606]
    assert rounded(plain.always_low, plain.always_high) == [0.30206564, 1.23758868]
    assert f"{plain.always_p:.4e}" == "8.0754e-06"
    later = edgeloop.compare(frame, value="spend", planned_units=42_613, **arms)
    # The lower end of this vector was rounded after its parts were.
    assert (later.always_low, later.always_high) == pytest.approx((0.32897350, 1.21068082), abs=1.1e-8)
    cuped = edgeloop.compare(frame, value="spend", covariate="history", **arms)
    assert rounded(cuped.effect, cuped.effect_low, cuped.effect_high, cuped.se) == [
        0.76743850, 0.48281285, 1.05206415, 0.14521504,
    ]  # fmt: skip
    assert rounded(cuped.lift, cuped.lift_low, cuped.lift_high) == [1.17348259, 0.62459782, 1.90781294]
    ratio = edgeloop.compare(frame, value="spend", denominator="visit", **arms)
    assert rounded(ratio.effect, ratio.effect_low, ratio.effect_high, ratio.se) == [
        1.63551690, -0.29929868, 3.57033248, 0.98714052,
    ]  # fmt: skip
    assert rounded(ratio.lift, ratio.lift_low, ratio.lift_high) == [0.26599450, -0.05020263, 0.68745684]


def test_an_effect_of_the_company_by_hand_is_its_estimate(home: Edgeloop) -> None:
    exposures = home.freeze(MONTH).frame("exposures", columns=["subject", "arm"])
    did = {event["customer_id"] for event in events() if event.get("name") == "slot_rebooked"}
    raw = home.frame("engagement", where={"name": "slot_rebooked"})["subject"]
    assert len(raw) == len(did)
    frame = exposures.assign(did=exposures["subject"].isin(raw))
    found = edgeloop.compare(frame, value="did", kind="proportion", unit="subject", **ARMS)
    estimates = home.estimates(MONTH)
    (row,) = estimates[(estimates["metric"] == "slot_rebooked") & (estimates["segment"] == "all")].to_dict("records")
    for name in ("n_control", "n_treated", "control", "treated", "effect", "se", "effect_low", "effect_high", "p"):
        assert getattr(found, name) == pytest.approx(row[name], rel=1e-9), name
