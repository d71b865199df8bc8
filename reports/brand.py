"""Which colour is legible? A company's own, darkened or lightened until it can be read on the paper."""

from __future__ import annotations

PAPER_LIGHT, PAPER_DARK = "#fdfcfa", "#14181c"
LEAST_CONTRAST = 4.5
"""Of text by WCAG 2.2 AA."""
_STEPS = 100


def legible(colour: str, paper: str) -> str:
    """The colour (``#rrggbb``) moved towards black on light paper, towards white on dark, as little as is needed."""
    goal = 0 if _luminance(_rgb(paper)) > 0.18 else 255
    own = _rgb(colour)
    for step in range(_STEPS + 1):
        mixed = tuple(round(c + (goal - c) * step / _STEPS) for c in own)
        if contrast(mixed, _rgb(paper)) >= LEAST_CONTRAST:
            return "#" + "".join(f"{c:02x}" for c in mixed)
    raise ValueError(f"nothing is legible on {paper}")


def contrast(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """The ratio of WCAG 2.2, 1 to 21."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _rgb(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))


def _luminance(rgb: tuple[int, ...]) -> float:
    linear = [c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
