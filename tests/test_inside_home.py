"""`cluster` and `strata` from the door to the row: the change, the tables, the freeze, the estimate and the page."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pandas as pd
import pytest

from analysis import needed
from edgeloop.app.cli import run
from edgeloop.app.monthly import analyse_freeze
from edgeloop.events import Change, decode
from edgeloop.home import Home
from edgeloop.metrics import PACK
from edgeloop.store.freeze import Freeze
from edgeloop.store.reader import SqliteReader
from tests import small_company as company


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The company whose change says that customers were drawn inside couriers and by sites."""
    folder = tmp_path_factory.mktemp("inside") / "home"
    company.make(folder)
    (change,) = [event for event in company.events() if event["type"] == "change"]
    company.add(folder, [change | {"cluster": "courier", "strata": ["site", "zone"], "revision": 1}])
    assert run(["report", "--month", company.MONTH, "--home", str(folder)]) == 0
    return folder


def test_the_tables_have_it(home: Path) -> None:
    reader = SqliteReader(Home(home).store)
    assert reader.query("SELECT cluster, strata FROM changes")[1] == [("courier", '["site","zone"]')]
    reader.close()


def test_the_estimates_rest_on_it(home: Path) -> None:
    (freeze,) = [Freeze(path) for path in Home(home).freezes.glob("*") if (path / "manifest.json").exists()]
    rows = [e for e in analyse_freeze(freeze).estimates if e.dimension == "all" and e.estimator]
    assert {(e.estimator or "").partition("+")[2] for e in rows} == {"cluster+strata"}
    (row,) = [e for e in rows if e.metric == "slot_rebooked"]
    assert "couriers are clusters, 7 and 7 of them" in (row.reason or "")
    assert "strata of site and zone" in (row.reason or "")


def test_the_page_says_it_in_words(home: Path) -> None:
    page = (home / "reports" / f"{company.MONTH}.html").read_text(encoding="utf-8")
    assert "Drawn inside clusters (delivery agent), of which 7 have the old version and 7 the new one" in page
    assert "Drawn in strata (site and zone)" in page


def test_only_what_a_change_names_is_read_of_a_freeze() -> None:
    asked = pd.DataFrame({"cluster": [None, "site"], "strata": [None, json.dumps(["placement"])]})
    assert {"site", "placement"} <= set(needed(PACK, asked)["exposures"])
    assert {"site", "placement"}.isdisjoint(needed(PACK)["exposures"])
    assert "site" not in needed(PACK, asked.iloc[:1])["exposures"]


@pytest.mark.parametrize(
    ("more", "good"),
    [
        ({"cluster": "zone"}, True),
        ({"strata": ["segment", "device"]}, True),
        ({"strata": []}, True),
        ({"cluster": "village"}, False),
        ({"strata": ["delivery_id"]}, False),
        ({"strata": "zone"}, False),
    ],
)
def test_only_fields_that_exposures_carry(more: dict[str, object], good: bool) -> None:
    body = {"type": "change", "change_id": "c", "model_id": "m", "to_version": "2", "kind": "canary",
            "occurred_at": "2026-03-01T00:00:00Z"}  # fmt: skip
    record = json.dumps(body | more).encode()
    if good:
        assert isinstance(decode(record), Change)
    else:
        with pytest.raises(msgspec.ValidationError):
            decode(record)
