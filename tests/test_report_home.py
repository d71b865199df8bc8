"""From a home to the page: language and look go by way of the freeze, and so does what the year promoted."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from edgeloop.app.cli import run
from edgeloop.clock import DAY_US, to_us
from edgeloop.home import Home
from edgeloop.months import Month
from edgeloop.settings import load
from edgeloop.store.freeze import Freeze, write_freeze
from edgeloop.store.opening import open_reader
from tests.small_company import BEGIN, make

TOML = """company = "Finch Parcels"
timezone = "Europe/Berlin"

[report]
locale = "de"
brand_name = "Fink Pakete"
brand_colour = "#ffd800"
logo = "logo.svg"

[metrics.slot_rebooked]
headline = true
[metrics.latency_p95]
role = "off"
[metrics.over_budget]
role = "off"
[metrics.error_rate]
role = "off"
"""
LOGO = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><script>alert(1)</script><path d="M0 0h9v9z"/></svg>'


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make(tmp_path_factory.mktemp("look") / "home")
    (folder / "edgeloop.toml").write_text(TOML, encoding="utf-8")
    (folder / "logo.svg").write_text(LOGO, encoding="utf-8")
    for command in (
        ["freeze", "--month", "2026-03"],
        ["report", "--month", "2026-03"],
        ["report", "--month", "2026-04"],
    ):
        assert run([*command, "--home", str(folder)]) == 0
    return folder


def test_the_page_is_in_the_companys_language_and_look(home: Path) -> None:
    html = (home / "reports" / "2026-03.html").read_text(encoding="utf-8")
    assert '<html lang="de" dir="ltr">' in html
    assert "März 2026" in html
    assert "Fink Pakete" in html
    assert 'src="data:image/svg+xml;base64,' in html
    assert "<script" not in html


def test_a_frozen_month_looks_as_it_did(home: Path, tmp_path: Path) -> None:
    before = (home / "reports" / "2026-03.html").read_bytes()
    toml = home / "edgeloop.toml"
    toml.write_text(TOML.replace('"de"', '"fr"').replace("Fink", "Pinson"), encoding="utf-8")
    try:
        assert run(["report", "--month", "2026-03", "--home", str(home)]) == 0
        assert (home / "reports" / "2026-03.html").read_bytes() == before
    finally:
        toml.write_text(TOML, encoding="utf-8")


def test_what_was_promoted_is_in_the_next_freeze(home: Path) -> None:
    assert Freeze(home / "freezes" / "2026-03").manifest.promoted == []
    told = Freeze(home / "freezes" / "2026-04.provisional").manifest.promoted
    assert {(p.month, p.change_id) for p in told} == {("2026-03", "rebook-2.1")}
    headline = next(p for p in told if p.metric == "slot_rebooked")
    assert 0.05 < headline.effect < 0.25
    assert headline.se is not None


def test_a_freeze_knows_when_the_stores_data_began_wherever_it_was_cut(home: Path, tmp_path: Path) -> None:
    """Orders go back to February, exposures to 2 March: from then on the store has both."""
    first = to_us(BEGIN)
    manifest = Freeze(home / "freezes" / "2026-03").manifest
    assert (manifest.begins_us, manifest.since_us < first) == (first, True)
    settings = load(home, {})
    with closing(open_reader(Home(home), settings)) as reader:
        cut = write_freeze(
            reader, tmp_path / "cut", Month.parse("2026-04", settings.timezone), settings=settings,
            since_us=first + 5 * DAY_US, provisional=True, simulated=False,
        )  # fmt: skip
    assert cut.manifest.begins_us == first < int(cut.frame("exposures")["occurred_at"].min())
