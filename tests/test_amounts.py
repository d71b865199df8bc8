"""Amounts and currencies as text: read where they say one thing, else kept and counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from connectors import zigpoll
from connectors.amounts import amount, currency, money
from connectors.intake import Intake, Item
from edgeloop.events import Engagement, decode
from edgeloop.home import Home
from edgeloop.settings import ZigpollSettings
from tests.fakes import FixedClock, at
from tests.test_cli import Shell, shell, write

__all__ = ["shell"]  # a fixture


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("31.50", (31.5, None)), ("31,50", (31.5, None)), ("€31.50", (31.5, "EUR")), ("31,50 €", (31.5, "EUR")),
        ("EUR 31.50", (31.5, "EUR")), ("31.50eur", (31.5, "EUR")), ("Euro 31,5", (31.5, "EUR")), ("-3,5", (-3.5, None)),
        ("1.234,56", (1234.56, None)), ("1,234.56", (1234.56, None)), ("1 234,56", (1234.56, None)),
        ("1'234.50 CHF", (1234.5, "CHF")), ("1.234.567", (1234567.0, None)), ("1\u202f234\u00a0€", (1234.0, "EUR")),
        ("0,123", (0.123, None)), ("$31.50", (31.5, None)), ("R$ 10", (10.0, "BRL")),
        ("1.234", (None, None)), ("1,234", (None, None)), ("1,2,3", (None, None)), ("12 Uhr", (None, None)),
        ("3 pcs", (None, None)), ("€3€", (None, None)), ("", (None, None)), ("1e5", (None, None)),
        ("9" * 70, (None, None)), (True, (None, None)), ([1], (None, None)), (3, (3.0, None)),
    ],
)  # fmt: skip
def test_amounts(text: object, wanted: tuple[float | None, str | None]) -> None:
    assert amount(text) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("Euro", "EUR"), (" eur ", "EUR"), ("€", "EUR"), ("HRK", "HRK"), ("$", None), ("XYZ", None), ("euro cents", None)],
)
def test_currencies(text: str, wanted: str | None) -> None:
    assert currency(text) == wanted


def test_two_currencies_of_one_amount_are_none() -> None:
    assert money("€3", "USD") == (None, None, ("value", "currency"))
    assert money("€3", "Euro") == (3.0, "EUR", ())
    assert money("3", "PTS") == (3.0, None, ("currency",))
    assert money("a lot", "EUR") == (None, None, ("value",))
    assert money(None, "EUR") == (None, None, ())


@pytest.mark.parametrize(
    ("value", "given", "wanted"),
    [
        ("31,50", "EUR", (31.5, "EUR")),
        ("€31.50", None, (31.5, "EUR")),
        (31.5, "Euro", (31.5, "EUR")),
        (3, "PTS", (3, "PTS")),
    ],
)
def test_the_native_door(value: object, given: str | None, wanted: Any, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.create()
    event = {
        "type": "engagement", "event_id": "e", "customer_id": "C-1", "occurred_at": "2026-10-05T09:00:00Z",
        "name": "order", "source": "app", "value": value, "currency": given,
    }  # fmt: skip
    intake = Intake(home, FixedClock(at("2026-10-05T12:00:00Z")))
    (taken,), (entry,) = intake.take([Item(json.dumps(event).encode(), "line 1", event)], source="test")
    assert taken.rejected is None
    found = decode(entry.value)
    assert isinstance(found, Engagement)
    assert (found.value, found.currency) == wanted


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("31,50", {"order_value": 31.5}),
        ("€31.50", {"order_value": 31.5, "order_currency": "EUR"}),
        ("1.234", {"order_value": "1.234", "not_read": ["orderValue"]}),
        (0, {"order_value": 0}),
        ("", {}),
    ],
)
def test_zigpolls_order_value(given: object, wanted: dict[str, Any]) -> None:
    row = {"_id": "r", "pollId": "p", "slideId": "s", "createdAt": "2026-03-01T09:00:00Z", "response": "4"}
    found = zigpoll.read(row | {"orderValue": given}, ZigpollSettings(), None)
    assert isinstance(found, dict)
    assert found["extra"] == wanted


def test_mixpanels_amounts_are_read_or_told(shell: Shell, tmp_path: Path) -> None:
    amounts = [(31.5, "EUR"), ("31.50", "EUR"), (31.5, "Euro"), ("1.234", "EUR"), (5, "points")]
    lines = [
        {"event": "Order", "properties": {"time": 1791190800 + i, "distinct_id": "C-1", "$insert_id": f"d{i}",
                                          "value": value, "currency": code}}
        for i, (value, code) in enumerate(amounts)
    ]  # fmt: skip
    path = write(tmp_path / "export.ndjson", "\n".join(map(json.dumps, lines)))
    assert shell("ingest", "--from", "mixpanel", path).code == 0
    assert shell("process").code == 0
    rows = json.loads(shell("sql", "SELECT value, currency, extra FROM engagement ORDER BY occurred_at", "--json").out)
    assert [(row["value"], row["currency"]) for row in rows] == [
        (31.5, "EUR"), (31.5, "EUR"), (31.5, "EUR"), (None, None), (5, None),
    ]  # fmt: skip
    assert '"1.234"' in json.dumps(rows[3]["extra"]).replace("\\", "")
    said = " ".join(shell("doctor").out.split())
    assert "mixpanel value once" in said
    assert "mixpanel currency once" in said
