"""Each room says what other rooms may use, and they use nothing else of it."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("connectors", "streams", "analysis", "reports")
SHARED = "edgeloop"
EXPORTED = {
    "connectors": [
        "MOST_EVENTS",
        "NOT_ALLOWED",
        "Intake",
        "Item",
        "Scope",
        "Taken",
        "TooManyError",
        "documents_of_file",
        "events_of_body",
        "in_runs",
        "is_currency",
        "is_document",
        "mail",
        "mixpanel",
        "native",
        "slack",
        "summary",
        "typeform",
        "zigpoll",
    ],
    "streams": [
        "ONLY_LANE",
        "Drain",
        "Drained",
        "Lane",
        "LogMismatchError",
        "Progress",
        "Rules",
        "RulesMismatchError",
        "UnfinishedPassError",
        "difference",
        "fingerprint",
        "prune",
        "prune_is_unfinished",
        "pruned_to",
        "recompute",
    ],
    "analysis.estimators": ["always_valid", "cuped", "inside", "skewed"],
    "analysis": [
        "ALL_METRICS",
        "READ",
        "Analysis",
        "Counted",
        "LedgerChange",
        "Metric",
        "Stage",
        "WordsOfMonth",
        "analyse",
        "coarse_stamps",
        "customers",
        "lag",
        "ledger",
        "lift",
        "local_date",
        "moments",
        "needed",
        "remarks",
    ],
    "reports": [
        "Findings",
        "Head",
        "Read",
        "Record",
        "Sheet",
        "build",
        "done_since",
        "figure",
        "mail",
        "read",
        "record",
        "render",
        "render_workshop",
        "sheets",
        "workshop",
        "written",
    ],
    # Apart from their room: they load Faust, which no other command needs.
    "streams.faust_app": ["JoinWorker", "Publisher", "application"],
    "streams.worker": ["Alert", "Counts", "Feed", "Identities", "Join", "Steps", "Tell"],
}


@pytest.mark.parametrize("room", EXPORTED)
def test_what_a_room_exports_is_decided_and_not_by_accident(room: str) -> None:
    module = importlib.import_module(room)
    assert module.__all__ == EXPORTED[room]
    assert all(hasattr(module, name) for name in module.__all__)


def imports() -> list[tuple[Path, str, list[str]]]:
    """(file, module, names) of every import of one of our rooms from outside it."""
    found = []
    for top in (*ROOMS, SHARED):
        for path in sorted((ROOT / top).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and node.module:
                    room = node.module.split(".")[0]
                    if room in ROOMS and room != top:
                        found.append((path, node.module, [alias.name for alias in node.names]))
    return found


def test_other_rooms_use_only_what_is_exported() -> None:
    seen = imports()
    assert len(seen) > 5
    for path, module, names in seen:
        assert module in EXPORTED, f"{path} reaches into {module}"
        assert set(names) <= set(EXPORTED[module]), path
