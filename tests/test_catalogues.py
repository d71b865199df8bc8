"""The catalogues hold exactly the texts of the report, and a translation keeps what is filled in."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pandas as pd
import pytest
from babel.messages.pofile import read_po

import reports
from edgeloop.store.freeze import Look
from reports import language as spoken_by
from reports.language import LANGUAGES, SOURCE
from scripts import make_catalogues
from tests import report_months
from tests.report_fixture import analysed
from tests.test_report import Page

FOREIGN = [language for language in LANGUAGES if language != SOURCE]
_FIELD = re.compile(r"\{(\w*)\}")


@pytest.mark.parametrize("language", FOREIGN)
def test_a_catalogue_holds_exactly_the_texts(language: str) -> None:
    written = (make_catalogues.FOLDER / f"{language}.po").read_text(encoding="utf-8")
    assert written == make_catalogues.catalogue(language), "run `python -m scripts.make_catalogues`"


def test_texts_are_found_in_code_and_templates() -> None:
    found = make_catalogues.messages()
    assert found["{subject} lifted {what} by {size} (range {range})"] == ["reports/words.py"]
    assert "reports/templates/sections/effects.html.j2" in found["Did it help?"]
    assert ("at least {n} day more", "at least {n} days more") in found
    assert len(found) > 250


@pytest.mark.parametrize("language", FOREIGN)
def test_a_translation_fills_in_what_the_text_does(language: str) -> None:
    with (make_catalogues.FOLDER / f"{language}.po").open("rb") as file:
        catalogue = read_po(file, locale=language)
    for message in catalogue:
        ids = [str(text) for text in (message.id if isinstance(message.id, tuple) else (message.id,))]
        told = message.string if isinstance(message.string, tuple) else (message.string,)
        strings = [str(text or "") for text in told]
        asked = {name for text in ids for name in _FIELD.findall(text)}
        if ids == [""]:
            continue
        for text in filter(None, strings):
            assert set(_FIELD.findall(text)) <= asked, (ids, text)
        if all(strings) and len(ids) == 1:
            assert set(_FIELD.findall(strings[0])) == asked, (ids, strings)


def test_a_text_that_is_not_written_out_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "bad.py").write_text("from reports.language import t\n\nname = 'x'\nt(name)\n")
    monkeypatch.setattr(make_catalogues, "ROOT", tmp_path)
    with pytest.raises(make_catalogues.NotLiteralError, match=r"reports/bad\.py:4"):
        make_catalogues.messages()


class Bracketed(dict[tuple[str, ...], tuple[str, ...]]):
    """A catalogue that translates every text into itself in brackets."""

    def get(self, key: tuple[str, ...], default: object = None) -> tuple[str, ...]:
        return tuple(f"⟦{text}⟧" for text in key)


@pytest.mark.parametrize("name", ["everything", "under repair", "nothing"])
def test_no_text_of_the_page_goes_past_the_catalogue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Outside the brackets stand names, remarks, numbers and dates, and nothing that we wrote."""
    monkeypatch.setattr(spoken_by, "_catalogue", lambda _: Bracketed())
    freeze = report_months.MONTHS[name](tmp_path / "f")
    freeze.manifest = msgspec.structs.replace(freeze.manifest, look=Look(locale="de"))
    html = reports.render(reports.build(freeze, analysed(freeze)))
    text = Page(re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL)).text
    while (outer := re.sub(r"⟦[^⟦⟧]*⟧", " ", text)) != text:
        text = outer
    columns = [frame[name] for frame in freeze.frames().values() for name in frame.columns]
    theirs = " ".join(str(v) for c in columns if not pd.api.types.is_numeric_dtype(c) for v in set(c.dropna()))
    theirs += " ".join(
        [
            "",
            freeze.manifest.company,
            freeze.manifest.freeze_id,
            "Donnerstag Freitag Februar Feb März April Jan",
            *_OURS,
        ]
    )
    known = set(re.findall(r"[^\W\d_]{2,}", theirs))
    assert set(re.findall(r"[^\W\d_]{2,}", text)) <= known


_OURS = ("csv zip json", "Edgeloop")
"""The product's name, and the endings of files."""
