"""A company's own look: a logo is checked before it goes into a freeze, a colour is legible on either paper."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeloop.app.brand import MOST_BYTES, logo_uri
from edgeloop.errors import UsageError
from edgeloop.home import Home
from edgeloop.settings import ReportSettings, Settings, load
from reports.brand import LEAST_CONTRAST, PAPER_DARK, PAPER_LIGHT, legible

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 40
SVG = b'<?xml version="1.0"?><!-- ours --><svg xmlns="http://www.w3.org/2000/svg"><rect width="9" height="9"/></svg>'


def luminance(colour: str) -> float:
    """WCAG 2.2, written down a second time."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


@given(st.integers(0, 0xFFFFFF), st.sampled_from([PAPER_LIGHT, PAPER_DARK]))
def test_every_colour_becomes_legible(number: int, paper: str) -> None:
    found = legible(f"#{number:06x}", paper)
    low, high = sorted((luminance(found), luminance(paper)))
    assert (high + 0.05) / (low + 0.05) >= LEAST_CONTRAST


def test_a_legible_colour_stays_as_it_is() -> None:
    assert legible("#0b5394", PAPER_LIGHT) == "#0b5394"
    assert legible("#ffd800", PAPER_DARK) == "#ffd800"
    assert legible("#ffd800", PAPER_LIGHT) != "#ffd800"


def settings(logo: str) -> Settings:
    return msgspec.structs.replace(Settings(), report=ReportSettings(logo=logo))


@pytest.mark.parametrize(("data", "kind"), [(PNG, "image/png"), (SVG, "image/svg+xml")])
def test_a_logo_becomes_a_data_uri(tmp_path: Path, data: bytes, kind: str) -> None:
    (tmp_path / "edgeloop.toml").write_text("")
    (tmp_path / "logo").write_bytes(data)
    assert logo_uri(Home(tmp_path), settings("logo")).startswith(f"data:{kind};base64,")
    assert logo_uri(Home(tmp_path), settings("")) == ""


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (PNG + b"\0" * MOST_BYTES, "at most 50,000"),
        (b"GIF89a", "neither a PNG nor an SVG"),
        (b"<html><svg></svg></html>", "neither a PNG nor an SVG"),
        (b"\xff\xfe<svg>", "neither a PNG nor an SVG"),
        (None, "cannot be read"),
    ],
)
def test_another_file_is_refused_by_name(tmp_path: Path, data: bytes | None, problem: str) -> None:
    (tmp_path / "edgeloop.toml").write_text("")
    if data is not None:
        (tmp_path / "logo").write_bytes(data)
    with pytest.raises(UsageError, match=problem):
        logo_uri(Home(tmp_path), settings("logo"))


@pytest.mark.parametrize("wrong", ['locale = "xx"', 'brand_colour = "red"', 'brand_colour = "#12345"'])
def test_a_wrong_look_is_an_error(tmp_path: Path, wrong: str) -> None:
    (tmp_path / "edgeloop.toml").write_text(f"[report]\n{wrong}\n")
    with pytest.raises(UsageError, match="report"):
        load(tmp_path, {})
