"""A shop whose customers are asked about their order weeks after the purchase, and answer the later the unhappier.

Everything is in the events: which order (delivery) an exposure at the purchase was of, and which one a review is about.
What a window joins of such reviews are those of the punctual orders.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from edgeloop.app.cli import run as edgeloop
from edgeloop.store.freeze import Freeze
from edgeloop.store.reader import SqliteReader
from tests.worlds import DAY, micros, stamp

MARCH = micros("2026-03-01T00:00:00Z")
ORDERS = 1_500
LATE = 0.12
Event = dict[str, Any]


def shop(rng: random.Random) -> list[Event]:
    """Exposures at the purchase and a review each: 1 to 5 weeks later, of late orders 4 to 8 and far lower."""
    events: list[Event] = []
    for number in range(ORDERS):
        bought = MARCH + rng.randrange(31 * DAY)
        late = rng.random() < LATE
        asked = bought + (rng.randrange(28 * DAY, 56 * DAY) if late else rng.randrange(7 * DAY, 35 * DAY))
        stars = rng.choice((1, 1, 2, 3)) if late else rng.choice((3, 4, 4, 5, 5, 5))
        whose = {"customer_id": f"C-{number:05d}", "delivery_id": f"O-{number:05d}"}
        events.append(
            {"type": "exposure", "exposure_id": f"x{number}", "occurred_at": stamp(bought), "touchpoint": "checkout",
             "model_id": "eta-promise", "model_version": "1.4", **whose}
        )  # fmt: skip
        answer = {"question": "stars", "kind": "rating", "value": stars, "low": 1, "high": 5}
        events.append(
            {"type": "response", "response_id": f"r{number}", "occurred_at": stamp(asked), "respondent": "customer",
             "survey_id": "order", "source": "app", "answers": [answer], **whose}
        )  # fmt: skip
    # An order that nobody promised anything for, and a customer's second order, of which the review is not.
    lost = {"customer_id": "C-lost", "delivery_id": "O-lost"}
    events.append(events[1] | lost | {"response_id": "lost", "occurred_at": stamp(MARCH + 5 * DAY)})
    again = {"exposure_id": "again", "delivery_id": "O-again", "occurred_at": stamp(MARCH + 60 * DAY)}
    events.append(events[0] | again | {"model_version": "2.0"})
    return events


@pytest.fixture(scope="module")
def events() -> list[Event]:
    return shop(random.Random(14))


def filled(folder: Path, events: list[Event]) -> Path:
    file, home = folder / "shop.ndjson", folder / "home"
    file.write_text("".join(json.dumps(event) + "\n" for event in events), encoding="utf-8")
    assert edgeloop(["ingest", str(file), "--home", str(home)]) == 0
    assert edgeloop(["process", "--home", str(home)]) == 0
    return home


def asked(home: Path, sql: str) -> list[tuple[Any, ...]]:
    reader = SqliteReader(home / "store.sqlite")
    found = reader.query(sql)[1]
    reader.close()
    return found


def stars_of(events: list[Event]) -> list[float]:
    return [event["answers"][0]["value"] for event in events if event["type"] == "response"]


def test_the_mean_of_what_is_joined_is_the_mean_of_all(tmp_path: Path, events: list[Event]) -> None:
    home = filled(tmp_path, events)
    stars = [event["answers"][0]["value"] for event in events if event.get("response_id", "lost") != "lost"]
    ((answers, mean),) = asked(home, "SELECT sum(answers), sum(credit * mean_value) / sum(credit) FROM version_answers")
    assert answers == len(stars) == ORDERS
    assert mean == pytest.approx(sum(stars) / len(stars))
    assert asked(home, "SELECT DISTINCT model_version, matched_by FROM attributions WHERE model_id <> ''") == [
        ("1.4", "delivery")
    ]


def test_inside_the_window_alone_the_unhappy_are_lost(
    tmp_path: Path, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the rule is for, and the way back to the tables of before."""
    monkeypatch.setenv("EDGELOOP_ATTRIBUTION_DELIVERY_WINDOW_DAYS", "0")
    home = filled(tmp_path, events)
    stars = stars_of(events)
    ((answers, mean),) = asked(home, "SELECT sum(answers), sum(credit * mean_value) / sum(credit) FROM version_answers")
    assert answers < 0.4 * ORDERS
    assert mean > sum(stars) / len(stars) + 0.2


def test_the_view_the_freeze_and_the_page_say_how_many_named_a_delivery_nobody_saw(
    tmp_path: Path, events: list[Event], capsys: pytest.CaptureFixture[str]
) -> None:
    home = filled(tmp_path, events)
    ((unattributed, unseen),) = asked(home, "SELECT sum(unattributed), sum(unseen_delivery) FROM unattributed")
    assert (unattributed, unseen) == (1, 1)
    capsys.readouterr()
    assert edgeloop(["report", "--month", "2026-03", "--home", str(home)]) == 0
    page = Path(capsys.readouterr().out.split()[-1]).read_text(encoding="utf-8")
    (freeze,) = (home / "freezes").glob("2026-03*")
    told = Freeze(freeze).manifest.deliveries
    assert told is not None
    begun = sum(event["type"] == "response" and event["occurred_at"] < "2026-04" for event in events)
    assert (told.outcomes, told.unseen) == (begun, 1)
    assert f"Of {begun} outcomes that name a delivery, 1 met nothing that was shown of it." in page
