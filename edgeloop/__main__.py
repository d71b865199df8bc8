"""``edgeloop`` and ``python -m edgeloop``."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

from edgeloop.outside_text import printable

_ROOMS = ("connectors", "streams", "analysis", "reports")


def hidden_room() -> str | None:
    """A sentence about a file of the user's own that hides one of our rooms, or None.

    The rooms are importable by plain names, so an ``analysis.py`` beside a notebook would be found first.
    """
    ours = Path(__file__).resolve().parents[1]
    for room in _ROOMS:
        spec = find_spec(room)
        found = Path(spec.origin).resolve() if spec is not None and spec.origin else None
        if found is None:
            return f"Edgeloop's own folder {room}/ is not installed beside edgeloop/: install Edgeloop again"
        if found.parent.parent != ours:
            return (
                f"{found} hides Edgeloop's own {room}/: rename it, or run from another folder "
                "(Python looks in the current folder first)"
            )
    return None


def main() -> None:
    """Run the command line; exits the process."""
    problem = hidden_room()
    if problem is not None:
        print(f"edgeloop: {printable(problem)}", file=sys.stderr)
        sys.exit(1)
    from edgeloop.app.cli import run

    sys.exit(run())


if __name__ == "__main__":
    main()
