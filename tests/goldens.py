"""What the months of the tests look like, byte for byte: `tests/golden/` and how it is compared and written anew.

Every line of the page, the pack and the JSON is in the goldens but one figure: the version of the code that renders,
which stands in the head of page and JSON and moves with every release. `VERSION` stands there instead.
"""

from __future__ import annotations

from pathlib import Path

from edgeloop import __version__
from edgeloop.app.publish import rendered
from edgeloop.app.report_files import JSON, PAGE, WORKSHOP
from tests import design_months, report_months
from tests.report_fixture import analysed

FOLDER = Path(__file__).parent / "golden"
MONTHS = {**report_months.MONTHS, **design_months.MONTHS}
ENDINGS = (PAGE, WORKSHOP, JSON)
RENEW = "python -m scripts.make_goldens"
_MASKED = (
    ('<meta name="generator" content="Edgeloop {}">', "VERSION"),
    ('\n "code_version": "{}",\n', "VERSION"),
)
_SHOWN = 160
"""Characters of a line in a message."""


def month(name: str, folder: Path) -> dict[str, bytes]:
    """By the file's name: what the product writes of one kind of month.

    Args:
        name: of `MONTHS`.
        folder: an empty one, for the freeze.
    """
    freeze = MONTHS[name](folder)
    files = rendered(freeze, analysed(freeze), None).files
    return {f"{name.replace(' ', '-')}{ending}": masked(files[ending]) for ending in ENDINGS}


def masked(content: bytes) -> bytes:
    """The same with `VERSION` for the version of the code that renders."""
    for place, word in _MASKED:
        content = content.replace(place.format(__version__).encode(), place.format(word).encode())
    return content


def difference(name: str, found: bytes, wanted: bytes) -> str:
    """Empty where they are the same; else the first line that differs, what was wanted, and what to do about it."""
    if found == wanted:
        return ""
    ours, theirs = (content.decode().splitlines() for content in (found, wanted))
    at = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs)))
    new, old = (lines[at] if at < len(lines) else "(the end)" for lines in (ours, theirs))
    start = max(next((i for i, (a, b) in enumerate(zip(new, old, strict=False)) if a != b), 0) - 40, 0)
    return (
        f"{name} differs from tests/golden/{name} in line {at + 1}:\n"
        f"  golden: {old[start : start + _SHOWN]}\n  now:    {new[start : start + _SHOWN]}\n"
        f"If it is meant to, write the goldens anew with `{RENEW}` and read their diff."
    )
