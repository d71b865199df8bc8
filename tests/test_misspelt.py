"""A misspelt setting is answered with the name that was meant, or where it belongs."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeloop.errors import UsageError
from edgeloop.misspelt import meant
from edgeloop.settings import load


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[report]\nlocale = "es"', "[report] locale = 'es' is none of en, de, fr, pt."),
        ('locale = "es"', "locale is unknown (it belongs under [report])"),
        ("[attributon]\nmax_touches = 3", "attributon is unknown (did you mean attribution?)"),
        ("[door]\nprt = 3", "[door] prt is unknown (did you mean port?)"),
        ('[roles.x]\nnam = "y"', "[roles.x] nam is unknown (did you mean name?)"),
        ("[metrics.conversion]\nwindow_hours = 3",
         "[metrics.conversion] window_hours is unknown (did you mean window_h?)"),
        ('[metrics.conversion]\nrole = "gaol"',
         "role = 'gaol' is none of goal, guardrail, watch, off (did you mean goal?)"),
        ('[metrics.conversion.covariate]\nsource = "smae"', "(did you mean same?)"),
        ('[metrics.convrsion]\nrole = "goal"', "[metrics.convrsion] is a new metric (did you mean conversion?)"),
        ('timezone = "Europe/Berln"', "unknown timezone 'Europe/Berln'; did you mean Europe/Berlin?"),
        ('timezone = "Nowhere"', "use a name such as Europe/Berlin"),
    ],
)  # fmt: skip
def test_the_file(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "edgeloop.toml").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as error:
        load(tmp_path, {})
    assert said in str(error.value)
    assert str(tmp_path / "edgeloop.toml") in str(error.value)


def test_a_variable(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"EDGELOOP_DOOR_PRT: no such setting \(did you mean port\?\)"):
        load(tmp_path, {"EDGELOOP_DOOR_PRT": "3"})


def test_a_value_is_shown_only_where_it_is_a_choice(tmp_path: Path) -> None:
    (tmp_path / "edgeloop.toml").write_text('[mail]\npasword = "hunter2"', encoding="utf-8")
    with pytest.raises(UsageError) as error:
        load(tmp_path, {})
    assert "did you mean password?" in str(error.value)
    assert "hunter2" not in str(error.value)


def test_where_nothing_is_near_what_there_is_is_named() -> None:
    assert meant("xyzzy", ["goal", "off"]) == "there are goal, off"
    assert meant("x", [str(i) for i in range(100, 130)]).endswith(" …")
    assert meant("x", []) == ""
