"""In which language is a remark, and which keywords does it hold? On any text, however hostile."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from analysis.words.codebook import codebook
from analysis.words.keywords import GAP, Keywords
from analysis.words.language import LANGUAGES, READ_CHARACTERS, language_of, load, plain, words_of
from analysis.words.lexicon import by_lexicon
from edgeloop.outside_text import short_line

ROLES = {
    "data engineer", "CRM manager", "IT lead", "operations lead", "data science lead", "edge systems engineer",
    "product manager", "DevOps lead", "feedback collector", "data analyst", "feedback integrator",
}  # fmt: skip
HOSTILE = [
    "", " ", "'", "…", "=", "\x00", "took " * 25_000, "a" * 100_000, "\u202e" * 100_000, "took" + " " * 100_000,
    "not good " * 12_000, "\ufdfa" * 100_000, "e\u0301" * 50_000, "\u0430" * 100_000, "1" * 100_000, "\ud800",
    "😀" * 50_000, "waited … " * 12_000, "((((" * 25_000, "<script>alert(1)</script>" * 4_000,
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "told", "language"),
    [
        ("The courier was on time and very friendly", None, "en"),
        ("Der Fahrer hat nicht einmal geklingelt", None, "de"),
        ("Le livreur n’a même pas sonné à la porte", None, "fr"),
        ("O entregador não tocou a campainha", None, "pt"),
        ("Merci", None, "fr"),
        ("Danke!", None, "de"),
        ("Obrigada", None, "pt"),
        # the survey's language decides where the words do not, and only there
        ("Super", "de-DE", "de"),
        ("Super", None, None),
        ("Xyzzy", "pt_BR", "pt"),
        ("The courier was on time and very friendly", "de", "en"),
        # languages without keywords: unread, not taken for a neighbour
        ("El paquete llegó tarde y la caja estaba rota", None, None),
        ("Il pacco è arrivato in ritardo e la scatola era rotta", None, None),
        ("Het pakket was te laat en de doos was kapot", None, None),
        ("Paket kargo çok geç geldi ve kutu kırıktı", None, None),
        ("Kurier był bardzo miły i szybko", None, None),
        ("Pakken kom til tiden og budet var venlig", None, None),
        ("Посылка пришла вовремя", "en", None),
        ("وصل الطرد متأخرا", "fr", None),
        ("包裹迟到了", "en", None),
        ("Xyzzy", "nl", None),
        ("👍👍", "en", None),
        ("12345", "en", None),
        ("", "en", None),
    ],
)
def test_the_language_of_a_remark(text: str, told: str | None, language: str | None) -> None:
    assert language_of(words_of(plain(text)), told) == language


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_read_at_once_and_bounded(text: str) -> None:
    begin = time.process_time()
    own = plain(text)
    words = words_of(own)
    for language in LANGUAGES:
        codebook().themes_of(words, language)
        by_lexicon(own, language)
    language_of(words, "en")
    assert len(short_line(text, 200)) <= 200
    assert len(own) <= READ_CHARACTERS
    assert time.process_time() - begin < 2


@given(st.text())
@example("ŉ ΐ ﬃ ß ẞ İ ı")
def test_plain_text_stays_as_it_is(text: str) -> None:
    own = plain(text)
    assert plain(own) == own
    assert not re.search(r"\s\s|[\u200b-\u202e]", own)


_KEYWORDS = [
    (theme["name"], language, keyword)
    for theme in load("codebook")["theme"]
    for language in LANGUAGES
    for keyword in theme[language]
]


@given(st.sampled_from(_KEYWORDS), st.data())
def test_every_keyword_is_found_in_any_case_and_with_accents(
    keyword: tuple[str, str, str], data: st.DataObject
) -> None:
    name, language, written = keyword
    said = written.removeprefix("=").replace("…", "one two")
    said = "".join(data.draw(st.sampled_from((c, c.upper(), c + "\u0301" if c.isalpha() else c))) for c in said)
    if not written.startswith("="):
        said += data.draw(st.sampled_from(("", "xyz")))
    words = words_of(plain(f"Hm: {said}! ok"))
    assert name in codebook().themes_of(words, next(own for own in LANGUAGES if own == language))


def by_expression(keyword: str, text: str) -> bool:
    """The same meaning of a keyword as a regular expression over the words, a space before and after each."""
    whole, bare = keyword.startswith("="), keyword.removeprefix("=")
    gap = rf"(?: \w+){{0,{GAP}}} "
    body = gap.join(" ".join(words_of(plain(piece))) for piece in bare.split("…"))
    return re.search(rf" {body}{'' if whole else chr(92) + 'w*'} ", f" {text} ") is not None


_WORDS = st.sampled_from(["took", "two", "hours", "hour", "late", "later", "on", "time", "timely", "a", "not", "lat"])


@given(
    st.lists(_WORDS, max_size=12),
    st.sampled_from(
        ["late", "=late", "on time", "=on time", "took … hour", "=took … hour", "a … on … lat", "took two"]
    ),
)
def test_keywords_mean_what_an_expression_means(words: list[str], keyword: str) -> None:
    assert bool(Keywords({"x": [keyword]}).names(words)) == by_expression(keyword, " ".join(words))


def test_a_keyword_is_the_beginning_of_a_word_and_never_its_middle() -> None:
    keywords = Keywords({"late": ["late"], "exact": ["=early"]})
    assert keywords.names(words_of(plain("LATER, earlyish"))) == {"late"}
    assert keywords.names(words_of(plain("chocolate; early"))) == {"exact"}


@pytest.mark.parametrize("keyword", ["", "=", "…", "took …", "… late", "!"])
def test_a_keyword_without_a_word_is_refused(keyword: str) -> None:
    with pytest.raises(ValueError, match="is no keyword"):
        Keywords({"x": [keyword]})


def test_the_codebook_is_complete() -> None:
    book = codebook()
    assert book.version
    assert 12 <= len(book.themes) <= 14
    assert len({theme.name for theme in book.themes}) == len({theme.title for theme in book.themes}) == len(book.themes)
    for theme in load("codebook")["theme"]:
        assert theme["name"].isidentifier()
        assert theme["owner"] in ROLES, theme["name"]
        for language in LANGUAGES:
            assert len(theme[language]) >= 8, (theme["name"], language)
            assert len(set(theme[language])) == len(theme[language]), (theme["name"], language)
            for keyword in theme[language]:
                bare = " ".join(keyword.removeprefix("=").replace("…", " ").split())
                assert plain(bare) == bare, f"{keyword!r} would never be found as it is written"


@pytest.mark.parametrize(
    ("language", "text", "themes"),
    [
        ("en", "Took almost three hours and the box was soaked", ("punctuality", "condition")),
        ("en", "No one else's parcel, please: I got someone else’s", ("completeness",)),
        ("en", "The plate was chocolate", ()),
        ("de", "VERSPÄTUNG, und es wurde nicht geklingelt", ("punctuality", "handover")),
        ("de", "Hundert Pakete", ()),
        ("fr", "Arrivé à l’heure, le créneau du soir est pratique", ("punctuality", "slots")),
        ("pt", "Portanto tudo certo", ()),
        ("pt", "A caixa veio aberta e faltou um produto", ("condition", "completeness")),
        (None, "late late late", ()),
    ],
)
def test_themes_of_a_remark(language: str | None, text: str, themes: tuple[str, ...]) -> None:
    own = next((one for one in LANGUAGES if one == language), None)
    assert codebook().themes_of(words_of(plain(text)), own) == themes
