"""The published JSON Schemas are the ones of the code, and valid themselves."""

from __future__ import annotations

import json

import jsonschema

from edgeloop.app import metrics
from scripts.make_reference import DOCS, FOLDER, schemas, tables


def test_the_files_are_what_the_code_says() -> None:
    wanted = dict(schemas())
    assert set(FOLDER.rglob("*.json")) == set(wanted), "run `python -m scripts.make_reference`"
    for path, text in wanted.items():
        assert path.read_text(encoding="utf-8") == text, "run `python -m scripts.make_reference`"


def test_the_reference_of_tables_is_what_the_code_says() -> None:
    assert (DOCS / "tables.md").read_text(encoding="utf-8") == tables(), "run `python -m scripts.make_reference`"


def test_the_reference_of_metrics_is_what_the_code_says() -> None:
    assert (DOCS / "metrics.md").read_text(encoding="utf-8") == metrics.reference(), (
        "run `python -m scripts.make_reference`"
    )


def test_they_are_schemas() -> None:
    for _, text in schemas():
        jsonschema.Draft202012Validator.check_schema(json.loads(text))


def test_a_sender_never_writes_a_pseudonym_or_a_stamp() -> None:
    for path, text in schemas():
        if path.parent == FOLDER:  # of the report, not of an event
            continue
        properties = json.loads(text)["properties"]
        if path.parent.name == "door":
            assert not {"subject", "courier", "received_at", "anonymous", "occurred_at_raw"} & set(properties), path
        else:
            assert not {"customer_id", "courier_id"} & set(properties), path
