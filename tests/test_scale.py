"""A large month in bounded passes and memory: how often each row is touched, and how many bytes it takes.

Both are counted, not timed, so that a busy machine changes nothing: `benchmarks.scale` has the seconds.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis import analyse, needed
from analysis import metrics as asked
from analysis.designs import measure
from analysis.frames import Coded, Exposures, prepare
from analysis.ledger import ledger
from benchmarks.freeze import fill
from benchmarks.large_month import MODELS, MONTH, write_month
from edgeloop.app.monthly import analyse_freeze, freeze_month
from edgeloop.home import Home
from edgeloop.metrics import PACK, Covariate, MetricSettings
from edgeloop.settings import load
from edgeloop.store.freeze import Freeze

ROWS = 30_000
MOST_TOUCHES = 25
"""Of an exposure, by all twelve changes together."""
MOST_BYTES = 260
"""Per exposure, with the 0.6 outcomes that come with it."""


@pytest.fixture(scope="module")
def freeze(tmp_path_factory: pytest.TempPathFactory) -> Freeze:
    folder = tmp_path_factory.mktemp("large")
    write_month(folder / "freeze", ROWS)
    return Freeze(folder / "freeze")


class Watched(np.ndarray):
    """A column that counts the elements read of it; what is made of it is plain."""

    touched = 0

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **more: Any) -> Any:
        return getattr(ufunc, method)(*(_plain(i) for i in inputs), **more)

    def __array_function__(self, function: Callable[..., Any], types: Any, args: Any, more: Any) -> Any:
        return function(*_all_plain(args), **more)

    def astype(self, *args: Any, **more: Any) -> Any:
        return _plain(self).astype(*args, **more)

    def __getitem__(self, index: Any) -> Any:
        found = self.view(np.ndarray)[index]
        Watched.touched += np.size(found)
        return found


def test_a_change_touches_its_own_exposures_only(freeze: Freeze) -> None:
    tables = freeze.frames(needed(PACK))
    known = ledger(tables, timezone="UTC")
    frames = prepare(tables)
    frames = replace(frames, exposures=_watched(frames.exposures))
    wanted = asked.resolve(frames, PACK)
    assert len(known) == MODELS
    Watched.touched = 0
    for change in known:
        found = measure(frames, None, change, known, wanted, freeze.month, freeze.manifest.as_of_us)
        assert found.weighed is not None
    assert ROWS < Watched.touched < MOST_TOUCHES * ROWS


def test_memory_grows_by_few_bytes_per_exposure(freeze: Freeze, tmp_path: Path) -> None:
    write_month(tmp_path / "twice", 2 * ROWS)
    peaks = [_peak(made) for made in (freeze, Freeze(tmp_path / "twice"))]
    assert 0 < peaks[1] - peaks[0] < MOST_BYTES * ROWS


def test_more_columns_and_another_order_of_the_rows_change_no_figure(tmp_path: Path) -> None:
    write_month(tmp_path / "freeze", 12_000, seed=2)
    freeze = Freeze(tmp_path / "freeze")
    tables = freeze.frames()
    tables["exposures"]["occurred_at"] //= 1_000_000  # to whole seconds, so that ids break ties
    tables["exposures"]["occurred_at"] *= 1_000_000
    tables["exposures"] = tables["exposures"].sort_values(["occurred_at", "exposure_id"], ignore_index=True)
    few = {table: tables[table][list(columns)] for table, columns in needed(PACK).items()}
    mixed = {table: frame.sample(frac=1, random_state=3) for table, frame in tables.items()}
    found = [
        analyse(read, freeze.month, freeze_id="f", as_of_us=freeze.manifest.as_of_us) for read in (tables, few, mixed)
    ]
    assert len(found[0].estimates) > 500
    assert repr(found[1]) == repr(found[0])
    assert [c.change_id for c in found[2].changes] == [c.change_id for c in found[0].changes]
    for kept, other in zip(found[0].estimates, found[2].estimates, strict=True):
        assert (kept.metric, kept.segment, kept.n_control, kept.n_treated) == (
            other.metric, other.segment, other.n_control, other.n_treated
        )  # fmt: skip
        assert [kept.effect or 0.0, kept.se or 0.0] == pytest.approx([other.effect or 0.0, other.se or 0.0], rel=1e-9)


def test_what_no_metric_asks_for_is_not_read() -> None:
    assert {"energy_mj", "features", "fallback"}.isdisjoint(needed(PACK)["exposures"])
    assert {"latency_ms", "error"} <= set(needed(PACK)["exposures"])
    assert "profiles" not in needed(PACK)
    energy = MetricSettings(source="exposures", event="energy_mj", kind="ratio")
    load = MetricSettings(event="x", covariate=Covariate(source="exposure", name="features"))
    age = MetricSettings(event="x", covariate=Covariate(source="profile", name="age"))
    read = needed({"energy": energy, "load": load, "age": age})
    assert {"energy_mj", "features"} <= set(read["exposures"])
    assert "latency_ms" not in read["exposures"]
    assert "profiles" in read


def test_a_freeze_of_a_filled_store_has_the_months_rows(tmp_path: Path) -> None:
    """So `benchmarks.freeze` measures what a drained store would cost."""
    home = Home(tmp_path / "home")
    fill(home, tmp_path / "month", 5_000)
    found, wanted = freeze_month(home, load(home.path, {}), MONTH), Freeze(tmp_path / "month")
    for name, info in wanted.manifest.tables.items():
        pair = [freeze.frame(name) for freeze in (found, wanted)]
        ids = [column for column in pair[0] if column.endswith("_id")]
        assert len(pair[0]) == info.rows > 0, name
        pd.testing.assert_frame_equal(*(frame.sort_values(ids, ignore_index=True) for frame in pair), check_dtype=False)


def _peak(freeze: Freeze) -> int:
    tracemalloc.start()
    try:
        analyse_freeze(freeze)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _watched(x: Exposures) -> Exposures:
    columns: dict[str, Any] = {}
    for field in fields(x):
        value = getattr(x, field.name)
        if isinstance(value, Coded):
            columns[field.name] = Coded(value.codes.view(Watched), value.labels)
        elif isinstance(value, np.ndarray) and field.name not in ("by_model", "model_begins"):
            columns[field.name] = value.view(Watched)
    return replace(x, **columns, fields={name: values.view(Watched) for name, values in x.fields.items()})


def _plain(value: Any) -> Any:
    if isinstance(value, Watched):
        Watched.touched += value.size
        return value.view(np.ndarray)
    return value


def _all_plain(values: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(_all_plain(v) if isinstance(v, list | tuple) else _plain(v) for v in values)
