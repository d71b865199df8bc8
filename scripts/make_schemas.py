"""Writes docs/schemas/{door,log}/TYPE.json from the event types; a test holds the files to the code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from edgeloop.events import EVENT_TYPES, door_schema, log_schema

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "schemas"


def schemas() -> Iterator[tuple[Path, str]]:
    """Every file and what stands in it."""
    for name in EVENT_TYPES:
        for form, schema in (("door", door_schema(name)), ("log", log_schema(name))):
            yield FOLDER / form / f"{name}.json", json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    for path, text in schemas():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
