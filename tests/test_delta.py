"""`edgeloop export --delta`: months of freezes as Delta Lake tables, written once, replaced whole, never twice."""

from __future__ import annotations

import builtins
import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from deltalake import DeltaTable

from edgeloop.app.cli import run
from edgeloop.app.delta import Partition, export_delta
from edgeloop.app.frozen import find_freeze
from edgeloop.clock import SystemClock
from edgeloop.errors import EdgeloopError
from edgeloop.home import Home
from edgeloop.months import Month
from edgeloop.store.freeze import Freeze
from edgeloop.store.schema import EXPOSURES
from tests.small_company import CUSTOMERS, MONTH, add, make_frozen

LATER = "2026-04"


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """March frozen; then an order of March that came late, an exposure of May, and April frozen."""
    home = make_frozen(tmp_path_factory.mktemp("company") / "home")
    who = {"customer_id": "C-0001"}
    order = {"type": "engagement", **who, "name": "order_placed", "source": "app", "value": 9.0, "currency": "EUR"}
    add(
        home,
        [
            {**order, "event_id": "belated", "occurred_at": "2026-03-20T00:00:00Z"},
            # 23:30 in UTC is the next month already in the company's zone
            {**order, "event_id": "midnight", "occurred_at": "2026-03-31T22:30:00Z"},
            {**order, "event_id": "after", "occurred_at": "2026-05-02T00:00:00Z"},
        ],
    )
    assert run(["freeze", "--month", LATER, "--home", str(home)]) == 0
    return home


def freeze(home: Path, name: str) -> Freeze:
    return find_freeze(Home(home), name)


def lake(folder: Path, table: str) -> pd.DataFrame:
    return DeltaTable(str(folder / table)).to_pandas()


def versions(folder: Path) -> dict[str, int]:
    return {path.name: DeltaTable(str(path)).version() for path in sorted(folder.iterdir())}


def states(done: list[Partition]) -> dict[tuple[str, str], str]:
    return {(part.table, part.month): part.state for part in done}


def test_a_month_is_written_as_it_was_frozen(company: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run(["export", "--freeze", MONTH, "--delta", str(tmp_path), "--json", "--home", str(company)]) == 0
    told = {row["table"]: row for row in json.loads(capsys.readouterr().out)}
    assert told["exposures"]["rows"] == CUSTOMERS
    assert told["telemetry"]["state"] == "no rows"
    frozen = freeze(company, MONTH)
    found = lake(tmp_path, "exposures").sort_values("exposure_id", ignore_index=True)
    assert len(found) == CUSTOMERS
    assert set(found["month"]) == {MONTH}
    assert set(found["freeze_id"]) == {frozen.manifest.freeze_id}
    assert str(found["occurred_at"].dtype) == "datetime64[us, UTC]"
    wanted = frozen.frame("exposures").sort_values("exposure_id", ignore_index=True)
    names = [column.name for column in EXPOSURES.columns if column.kind != "blob"]
    assert list(found.columns)[: len(names)] == names
    for name in ("exposure_id", "subject", "arm", "latency_ms", "features"):
        assert found[name].tolist() == wanted[name].tolist()
    assert found["occurred_at"].astype("int64").tolist() == wanted["occurred_at"].tolist()
    assert found["fallback"].astype(int).tolist() == wanted["fallback"].astype(int).tolist()
    table = DeltaTable(str(tmp_path / "exposures"))
    assert table.metadata().partition_columns == ["month"]
    # Of the freeze only the month: what lies before and after it is in partitions of its own, or in none yet.
    outcomes = frozen.frame("engagement")
    inside = outcomes["occurred_at"].between(frozen.month.start_us, frozen.month.end_us - 1)
    assert 0 < inside.sum() < len(outcomes)
    assert len(lake(tmp_path, "engagement")) == inside.sum()


def test_the_same_freeze_again_writes_nothing(company: Path, tmp_path: Path) -> None:
    export_delta(freeze(company, MONTH), str(tmp_path))
    before = versions(tmp_path)
    again = states(export_delta(freeze(company, MONTH), str(tmp_path)))
    assert versions(tmp_path) == before
    assert set(again.values()) == {"unchanged", "no rows"}


def test_months_add_up_and_nothing_is_in_two_of_them(company: Path, tmp_path: Path) -> None:
    for month in (MONTH, LATER):
        export_delta(freeze(company, month), str(tmp_path))
    found = lake(tmp_path, "engagement")
    assert not found["event_id"].duplicated().any()
    of_april = found[found["month"] == LATER]
    assert set(of_april["event_id"]) == {"late", "midnight"}
    assert "belated" not in set(found["event_id"]), "what came after March was frozen is not in March as it was frozen"
    assert (lake(tmp_path, "attributions").groupby(["outcome_id", "model_id"])["credit"].sum().round(9) <= 1).all()


def test_a_restated_month_replaces_its_partition_and_stays(company: Path, tmp_path: Path) -> None:
    march, april = freeze(company, MONTH), freeze(company, LATER)
    export_delta(march, str(tmp_path))
    first = lake(tmp_path, "engagement")
    done = states(export_delta(april, str(tmp_path), restate=True))
    assert done["engagement", MONTH] == "replaced"
    found = lake(tmp_path, "engagement")
    of_march = found[found["month"] == MONTH]
    assert set(of_march["event_id"]) == {*first["event_id"], "belated"}
    assert set(of_march["freeze_id"]) == {april.manifest.freeze_id}
    before = versions(tmp_path)
    assert states(export_delta(march, str(tmp_path)))["engagement", MONTH] == "newer there"
    assert set(states(export_delta(april, str(tmp_path), restate=True)).values()) <= {"unchanged", "no rows"}
    assert versions(tmp_path) == before


def test_an_interrupted_export_is_ended_by_the_next(
    company: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import deltalake

    real = deltalake.write_deltalake
    written: list[str] = []

    def breaks_off(place: str, *rest: Any, **more: Any) -> None:
        if len(written) == 2:
            raise OSError("no space left on device")
        written.append(place)
        real(place, *rest, **more)

    monkeypatch.setattr(deltalake, "write_deltalake", breaks_off)
    with pytest.raises(EdgeloopError, match=r"cannot write .* 2026-03 below .*no space left.*run the same again"):
        export_delta(freeze(company, MONTH), str(tmp_path))
    monkeypatch.undo()
    done = states(export_delta(freeze(company, MONTH), str(tmp_path)))
    assert sorted(done.values()).count("unchanged") == 2
    assert len(lake(tmp_path, "exposures")) == CUSTOMERS


def test_a_pruned_month_is_not_emptied_in_the_lake(company: Path, tmp_path: Path) -> None:
    export_delta(freeze(company, MONTH), str(tmp_path))
    home = tmp_path / "pruned"
    shutil.copytree(company, home)
    shutil.rmtree(home / "freezes" / LATER)
    assert run(["prune", "--before", LATER, "--unfrozen", "--home", str(home)]) == 0
    assert run(["freeze", "--month", LATER, "--home", str(home)]) == 0
    with pytest.raises(EdgeloopError, match="was it pruned before"):
        export_delta(freeze(home, LATER), str(tmp_path), restate=True)
    assert set(lake(tmp_path, "engagement")["month"]) >= {MONTH}
    assert states(export_delta(freeze(home, LATER), str(tmp_path)))["engagement", LATER] == "written"


def test_a_table_that_gained_a_column_takes_it(company: Path, tmp_path: Path) -> None:
    """As when a later version of Edgeloop exports into the tables of an earlier one."""
    from deltalake import write_deltalake

    export_delta(freeze(company, MONTH), str(tmp_path / "full"))
    old = DeltaTable(str(tmp_path / "full" / "exposures")).to_pyarrow_table().drop_columns(["placement", "device"])
    write_deltalake(str(tmp_path / "old" / "exposures"), old, partition_by=["month"])
    april = freeze(company, LATER)
    export_delta(april, str(tmp_path / "old"), restate=True)
    assert {"placement", "device"} <= set(lake(tmp_path / "old", "exposures").columns)


def test_without_deltalake_it_says_what_to_install(
    company: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("deltalake"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    assert run(["export", "--freeze", MONTH, "--delta", str(tmp_path), "--home", str(company)]) == 1
    assert "pip install 'edgeloop[delta]'" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_named(company: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(EdgeloopError, match=r"cannot write exposures of 2026-03 below .*file"):
        export_delta(freeze(company, MONTH), str(tmp_path / "file"))


def test_actions_are_in_the_lake_with_the_month_that_asked(tmp_path: Path) -> None:
    """They happen when the report asks; `month` is the partition's as in every table."""
    home = make_frozen(tmp_path / "home")
    assert run(["report", "--month", MONTH, "--home", str(home)]) == 0
    now = Month.of(SystemClock().now_us(), "Europe/Berlin").name
    assert run(["uplift", "--month", now, "--home", str(home)]) == 0
    done = export_delta(freeze(home, now), str(tmp_path / "lake"))
    assert states(done)["actions", now] == "written"
    asked = lake(tmp_path / "lake", "actions")
    assert len(asked) > 0
    assert set(asked["month"]) == {now}
    assert set(asked["report_month"]) == {MONTH}
    assert set(states(export_delta(freeze(home, now), str(tmp_path / "lake"))).values()) <= {"unchanged", "no rows"}
