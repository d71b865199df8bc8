"""What stands between parts of a text, and around what is quoted, in the language in force?

The code and the templates put no sign of their own between parts: French has a no-break space before one, and each
language its own quotation marks. The catalogues say both.
"""

from __future__ import annotations

from reports.language import t


def colon() -> str:
    """What stands between a label and what it labels: ``: ``."""
    return t("{label}: {text}", label="", text="")


def semicolon() -> str:
    """What stands between two parts of a list whose parts have commas: ``; ``."""
    return t("{before}; {after}", before="", after="")


def quotation_marks() -> tuple[str, str, str, str]:
    """Before and after a quotation, then the same of one inside another; with the spaces that belong to them."""
    outer, inner = t("“{name}”", name=_NOTHING), t("‘{name}’", name=_NOTHING)
    return (*_around(outer), *_around(inner))


_NOTHING = "\0"
"""What no catalogue holds: where the quoted text would stand."""


def _around(text: str) -> tuple[str, str]:
    before, _, after = text.partition(_NOTHING)
    return before, after
