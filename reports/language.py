"""In which language does the report speak? Texts by gettext catalogues, numbers and dates by the CLDR data of Babel.

English sentences in the code are the message ids. What is written while `speaking` another language is that
language's: ``with speaking("de"): build(…); render(…)``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from decimal import Decimal
from functools import cache
from importlib.resources import files

from babel import Locale
from babel.messages.pofile import read_po

SOURCE = "en"
LANGUAGES = (SOURCE, "de", "fr", "pt")
_spoken: ContextVar[str] = ContextVar("spoken", default=SOURCE)


@contextmanager
def speaking(language: str) -> Iterator[None]:
    """Inside, texts, numbers and dates are of one of `LANGUAGES`.

    Raises:
        ValueError: no such language.
    """
    if language not in LANGUAGES:
        raise ValueError(f"the report speaks {', '.join(LANGUAGES)}, not {language!r}")
    token = _spoken.set(language)
    try:
        yield
    finally:
        _spoken.reset(token)


def spoken() -> str:
    """The language in force."""
    return _spoken.get()


def locale() -> Locale:
    """Babel's locale of the language in force."""
    return _locale(_spoken.get())


def text_direction() -> str:
    """``ltr`` or ``rtl``, of the language in force."""
    return str(locale().text_direction)


def t(message: str, /, **values: object) -> str:
    """A text in the language in force.

    Args:
        message: the English text, a literal, with ``{name}`` where values go.
    """
    text = _catalogue(_spoken.get()).get((message,), (message,))[0]
    return text.format(**values) if values else text


def tn(one: str, many: str, n: int | Decimal, /, **values: object) -> str:
    """A text whose form depends on a number, which is not inserted by itself: give it as a value, written out.

    Of a `Decimal` its printed digits count too: English says "1.0 points", French "1,0 point".
    """
    language = _spoken.get()
    forms = _catalogue(language).get((one, many), (one, many))
    text = forms[_plural_index(language, n)]
    return text.format(**values) if values else text


@cache
def _locale(language: str) -> Locale:
    return Locale.parse(language)


@cache
def _catalogue(language: str) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Message (and its plural) → translation (of each plural form); none of English, which is in the code."""
    if language == SOURCE:
        return {}
    with files("reports").joinpath("locales", f"{language}.po").open("rb") as file:
        catalogue = read_po(file, locale=language, abort_invalid=True)
    found: dict[tuple[str, ...], tuple[str, ...]] = {}
    for message in catalogue:
        ids = message.id if isinstance(message.id, tuple) else (message.id,)
        strings = message.string if isinstance(message.string, tuple) else (message.string,)
        if all(strings) and ids != ("",):
            found[tuple(map(str, ids))] = tuple(map(str, strings))
    return found


def _plural_index(language: str, n: int | Decimal) -> int:
    # French and Brazilian Portuguese say 0 in the singular; CLDR knows which (all four have two forms in catalogues).
    return 0 if _locale(language).plural_form(n) == "one" else 1
