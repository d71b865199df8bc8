"""Every verdict is in both tables, in each once, and every language has its words."""

from __future__ import annotations

from typing import get_args

import pytest

from edgeloop.roles import DUTIES, KINDS, ROLES
from edgeloop.verdicts import MARKS, VERDICTS, Verdict
from reports.language import LANGUAGES, speaking
from reports.verdicts import ORDER, TOLD

ALL = set(get_args(Verdict))


def test_the_tables_hold_every_verdict() -> None:
    assert set(VERDICTS) == set(TOLD) == set(ORDER) == set(DUTIES) == set(KINDS.values()) == ALL


def test_signs_and_keys_are_told_apart() -> None:
    assert len(set(MARKS.values())) == len(KINDS) == len(ALL)


def test_who_answers_is_a_role() -> None:
    assert {duty.accountable for duty in DUTIES.values()} <= set(ROLES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_words_in_every_language(language: str) -> None:
    with speaking(language):
        names = {told.name() for told in TOLD.values()}
        asked = {told.action("Night slots") for told in TOLD.values()}
    assert len(names) == len(asked) == len(ALL)
    assert all("Night slots" in text for text in asked)


def test_what_is_not_shown_claims_no_effect_nowhere() -> None:
    told = TOLD["not shown"]
    for text in (told.name(), told.asked("x"), told.action("x")):
        assert "no effect" not in text
