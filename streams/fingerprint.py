"""How a store remembers the rules of its tables, and what to say where others are in force."""

from __future__ import annotations

import msgspec

from edgeloop.clock import DAY_US, HOUR_US
from streams.attribution import Rules

RULES = "rules"
"""Name in ``meta`` of the rules that the tables were made under."""
_DELIVERY = "delivery_window_us"
_WINDOWS = {
    "engagement_window_us": ("engagement_window_h", HOUR_US),
    "answer_window_us": ("answer_window_days", DAY_US),
    _DELIVERY: ("delivery_window_days", DAY_US),
}
"""The setting of each, and its unit."""


class Difference(msgspec.Struct, frozen=True):
    """Between the rules of some tables and those in force."""

    what: str
    """Each rule as ``name was … and is …``, by the names of the settings."""
    do: str
    """What a person can do."""


def fingerprint(rules: Rules) -> str:
    """The rules as ``meta`` holds them."""
    return msgspec.json.encode(rules, order="sorted").decode()


def difference(before: str, now: str) -> Difference | None:
    """Between two fingerprints; None where they give the same tables.

    Versions that knew no delivery window wrote none down: theirs was 0.
    """
    old, new = _rules(before), _rules(now)
    names = [name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]
    if not names:
        return None
    what = ", ".join(_told(name, old.get(name), new.get(name)) for name in names)
    if names == [_DELIVERY] and _DELIVERY not in msgspec.json.decode(before):
        what += " (new in this version: what was shown of the delivery that an outcome names counts for so long)"
        return Difference(what, "run `edgeloop recompute` once, or keep the tables as they are with that setting at 0")
    return Difference(what, "run `edgeloop recompute`, or put the setting back")


def _rules(told: str) -> dict[str, object]:
    return {_DELIVERY: 0, **msgspec.json.decode(told)}


def _told(name: str, before: object, now: object) -> str:
    setting, unit_us = _WINDOWS.get(name, (name, 1))
    old, new = (f"{v / unit_us:.10g}" if name in _WINDOWS and isinstance(v, int) else v for v in (before, now))
    return f"{setting} was {old} and is {new}"
