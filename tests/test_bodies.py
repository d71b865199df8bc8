"""The canonical body that is put together from a stored row is, to the byte, the one that came."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from edgeloop.events import Engagement, Exposure, body_sha256, decode, times_us
from edgeloop.store.base import Store
from edgeloop.store.bodies import sha256_of, told_by_row
from edgeloop.store.schema import EVENT_TABLES, row
from tests.stores import STORES, Place, batch, each_place, write

EVENTS = 200
"""Of each example, so that a transaction is not made for every one."""

place = pytest.fixture(params=STORES)(each_place)


@pytest.fixture
def store(place: Place) -> Store:
    return place.store()


_texts = st.text(
    st.characters(exclude_categories=("Cs",)) | st.sampled_from('\0\x01\x7f"\\/\n\u2028é😀'), min_size=1, max_size=8
)
_zones = st.sampled_from([UTC, timezone(timedelta(hours=1)), timezone(timedelta(0)), timezone(timedelta(minutes=-570))])
_times = st.datetimes(datetime(1969, 12, 31), datetime(2200, 1, 1), timezones=_zones)  # noqa: DTZ001 - zones are drawn
_numbers = st.floats(allow_nan=False, allow_infinity=False)
_positive = st.floats(min_value=0, allow_infinity=False) | st.sampled_from([0.0, -0.0, 1e-320, 1e22, 5.0])
_stamps: dict[str, st.SearchStrategy[Any]] = {
    "occurred_at": _times,
    "occurred_at_raw": st.none() | _times,
    "received_at": st.none() | _times,
    "v": st.sampled_from([1, 1, 1, 2]),
    "revision": st.sampled_from([0, 0, 1, -(2**53), 2**53]),
    "anonymous": st.booleans(),
    "extra": st.sampled_from([{}, {}, {}, {"b": 1, "a": -0.0}]),
}
_optional_text = st.none() | _texts
exposures = st.builds(
    Exposure,
    **_stamps,
    exposure_id=_texts, subject=_texts, touchpoint=_texts, model_id=_texts, model_version=_texts,
    arm=st.sampled_from([None, "stable", "holdout"]), rollout_id=_optional_text, latency_ms=st.none() | _positive,
    error=_optional_text | st.just(""), fallback=st.sampled_from([None, True, False]),
    features=st.sampled_from([None, 0, 8, 2**53]), placement=st.sampled_from([None, "edge", "cloud"]),
    site=_optional_text, zone=_optional_text, delivery_id=_optional_text, courier=_optional_text,
    energy_mj=st.none() | _positive,
)  # fmt: skip
engagements = st.builds(
    Engagement,
    **_stamps,
    event_id=_texts, subject=_texts, name=_texts, source=_texts, value=st.none() | _numbers,
    currency=st.sampled_from([None, "EUR"]), delivery_id=_optional_text, exposure_id=_optional_text,
)  # fmt: skip


@given(events=st.lists(exposures | engagements, min_size=1, max_size=EVENTS))
@hypothesis_settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_body_from_its_stored_row_has_the_same_hash(store: Store, events: list[Exposure | Engagement]) -> None:
    writes = batch(store)
    wanted: list[tuple[str, int, bytes]] = []
    for made in events:
        record = msgspec.json.encode(made)
        event = decode(record)
        assert isinstance(event, Exposure | Engagement)
        kind = "exposure" if isinstance(event, Exposure) else "engagement"
        digest = None if told_by_row(event, record) else body_sha256(event)
        rowid = writes.insert(EVENT_TABLES[kind].name, row(kind, event, (*times_us(event), digest)))
        wanted.append((kind, rowid, body_sha256(event)))
    write(store, writes)
    for kind, rowid, digest in wanted:
        assert sha256_of(kind, store.row(EVENT_TABLES[kind].name, rowid)) == digest


PLAIN = Engagement(event_id="e", subject="s", name="n", source="app", occurred_at=datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2}, {"extra": {"a": 1}}, {"value": 0.0}, {"value": -0.0}, {"name": "a\0b"},
        {"occurred_at": datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1)))},
        {"occurred_at_raw": datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1)))},
    ],
    ids=str,
)  # fmt: skip
def test_what_a_row_does_not_hold_word_for_word_is_hashed_when_it_comes(change: dict[str, Any]) -> None:
    event = msgspec.structs.replace(PLAIN, **change)
    assert told_by_row(PLAIN, msgspec.json.encode(PLAIN))
    assert not told_by_row(event, msgspec.json.encode(event))
