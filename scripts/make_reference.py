"""Writes docs/schemas/{door,log}/TYPE.json and report.json, docs/tables.md and docs/metrics.md; a test checks them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec

from edgeloop.app import metrics
from edgeloop.events import EVENT_TYPES, door_schema, log_schema
from edgeloop.store.schema import TABLES
from edgeloop.store.views import VIEWS
from reports import Record

DOCS = Path(__file__).resolve().parents[1] / "docs"
FOLDER = DOCS / "schemas"


def schemas() -> Iterator[tuple[Path, str]]:
    """Every file and what stands in it."""
    for name in EVENT_TYPES:
        for form, schema in (("door", door_schema(name)), ("log", log_schema(name))):
            yield FOLDER / form / f"{name}.json", json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
    report = msgspec.json.schema(Record)
    yield FOLDER / "report.json", json.dumps(report, indent=1, ensure_ascii=False) + "\n"


def tables() -> str:
    """The reference of tables and views."""
    lines = [
        "# Tables and views",
        "",
        "Made by `python -m scripts.make_reference`; `edgeloop tables` prints the same. Times (`time`) are integer µs",
        "since 1970 UTC in SQLite, `bool` is 0/1, `json` is text. Columns are only ever added.",
    ]
    for table in TABLES:
        lines += ["", f"## {table.name}", "", f"{table.comment[0].upper()}{table.comment[1:]}.", ""]
        lines += ["| column | kind | meaning |", "|---|---|---|"]
        lines += [f"| `{c.name}` | {c.kind} | {c.comment} |" for c in table.columns]
    lines += ["", "## Views", "", "Each also runs in the SQLite of Python's standard library."]
    for view in VIEWS:
        lines += ["", f"### {view.name}", "", f"{view.comment[0].upper()}{view.comment[1:]}.", ""]
        lines += ["| column | kind | meaning |", "|---|---|---|"]
        lines += [f"| `{c.name}` | {c.kind} | {c.comment} |" for c in view.columns]
    return "\n".join(lines) + "\n"


def main() -> None:
    (DOCS / "tables.md").write_text(tables(), encoding="utf-8")
    (DOCS / "metrics.md").write_text(metrics.reference(), encoding="utf-8")
    for path, text in schemas():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
