"""Settings from the environment: every key of every section can be set there, and what cannot be meant is an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeloop.errors import UsageError
from edgeloop.settings import load


def test_a_list_outside_of_any_section_is_separated_by_commas(tmp_path: Path) -> None:
    settings = load(tmp_path, {"EDGELOOP_HOLIDAYS": "2026-12-25, 2026-12-26"})
    assert settings.holidays == ["2026-12-25", "2026-12-26"]
    assert load(tmp_path, {"EDGELOOP_HOLIDAYS": ""}).holidays == []


@pytest.mark.parametrize(
    ("text", "meant"), [("1", True), ("Yes", True), (" on ", True), ("false", False), ("0", False), ("", False)]
)
def test_a_switch_is_on_or_off(tmp_path: Path, text: str, meant: bool) -> None:
    assert load(tmp_path, {"EDGELOOP_WORKER_UPDATES": text}).worker.updates is meant


@pytest.mark.parametrize("text", ["treu", "ja", "2"])
def test_a_switch_that_is_neither_is_an_error_that_names_it(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match=r"EDGELOOP_WORKER_UPDATES: Expected `bool`, got `str`"):
        load(tmp_path, {"EDGELOOP_WORKER_UPDATES": text})
