"""An interval without an end: few zones, and a level that none of their assignments reaches."""

from __future__ import annotations

import math
import re
from pathlib import Path

import msgspec

import reports
from analysis import Analysis
from edgeloop.app.publish import rendered
from edgeloop.store.freeze import Freeze
from reports import numbers
from tests.report_fixture import analysed, frames, write


def endless(analysis: Analysis) -> Analysis:
    """The same where no goal's decision has an end."""
    for i, e in enumerate(analysis.estimates):
        if e.decision_low is not None and e.dimension == "all":
            e = msgspec.structs.replace(e, decision_low=-math.inf, decision_high=math.inf)
        analysis.estimates[i] = e
    return analysis


def test_the_report_of_endless_intervals_is_written_and_read_again(tmp_path: Path) -> None:
    freeze: Freeze = write(tmp_path / "freeze", frames())
    made = rendered(freeze, endless(analysed(freeze)), None)
    page = made.files[".html"].decode()
    assert "no end on either side" in page
    assert "∞" not in page
    assert not re.search(r"\binf\b", page)
    back = msgspec.json.decode(made.files[".json"], type=reports.Record)
    effects = [e for change in back.findings.changes for e in change.effects]
    assert effects
    assert {(e.low, e.high) for e in effects} == {(None, None)}


def test_infinity_is_written_with_its_sign() -> None:
    assert numbers.signed(math.inf, 1) == "+∞"
    assert numbers.signed(-math.inf, 1) == "\N{MINUS SIGN}∞"
    assert numbers.number(math.inf) == "∞"
