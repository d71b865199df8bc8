"""The documents speak of the code as it is."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from edgeloop.app.commands import app
from edgeloop.events import EVENT_TYPES, STAMPS
from edgeloop.identity import NOBODY
from edgeloop.settings import Settings
from edgeloop.store.schema import TABLES
from edgeloop.store.views import VIEWS

ROOT = Path(__file__).resolve().parents[1]
CONTRACT = (ROOT / "docs" / "contract.md").read_text(encoding="utf-8")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


@pytest.mark.parametrize("name", EVENT_TYPES)
def test_every_field_of_every_event_is_in_the_contract(name: str) -> None:
    (row,) = [line for line in CONTRACT.splitlines() if line.startswith(f"| `{name}` |")]
    cls = EVENT_TYPES[name]
    assert f"`{cls.topic}`" in row
    assert f"`{cls.id_field}`" in row
    common = {"v", "revision", "extra", *STAMPS, cls.id_field, cls.key_field}
    for field in msgspec.structs.fields(cls):
        if field.name not in common:
            assert re.search(rf"\b{field.name}\b", row), field.name
            required, optional = row.split("|")[5:7]
            assert re.search(rf"\b{field.name}\b", required if field.required else optional), field.name


def test_every_table_view_and_setting_is_named() -> None:
    for table in (*TABLES, *VIEWS):
        assert f"`{table.name}`" in CONTRACT
    for name in Settings.__struct_fields__:
        value = getattr(Settings(), name)
        for key in value.__struct_fields__ if isinstance(value, msgspec.Struct) else ():
            assert re.search(rf"^\| `{name}` \|.*`{key}`", CONTRACT, re.MULTILINE), (name, key)


def test_every_id_that_names_nobody_is_in_the_contract() -> None:
    for nobody in NOBODY - {""}:
        assert re.search(rf"No usable id is one[^.]*`{re.escape(nobody)}`", CONTRACT), nobody


def test_every_command_is_named() -> None:
    commands = {name for name in app if not name.startswith("-")}
    assert len(commands) > 10
    table = CONTRACT.partition("## Command line")[2].partition("Exit codes:")[0]
    rows = re.findall(r"^\| `([^`]+)`", table, re.MULTILINE)
    assert len(set(rows)) == len(rows), "each once"
    assert {row.split()[0] for row in rows} == commands


@pytest.mark.parametrize("path", DOCUMENTS, ids=[p.name for p in DOCUMENTS])
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", DOCUMENTS, ids=[p.name for p in DOCUMENTS])
def test_no_path_of_somebodys_machine(path: Path) -> None:
    assert not re.search(r"(?<![\w.])/(work|home|root|Users|tmp)/", path.read_text(encoding="utf-8"))
