"""The commands, one file per concern; importing a file registers its commands with the application."""

from __future__ import annotations

from edgeloop.app.commands import (
    actions,
    analyst,
    dead_letters,
    keys,
    loop,
    month,
    replay,
    service,
    tables,
    topics,
    upkeep,
)
from edgeloop.app.commands.base import DONE, FAILED, NEEDS_A_PERSON, WRONG_USE, app

__all__ = [
    "DONE",
    "FAILED",
    "NEEDS_A_PERSON",
    "WRONG_USE",
    "actions",
    "analyst",
    "app",
    "dead_letters",
    "keys",
    "loop",
    "month",
    "replay",
    "service",
    "tables",
    "topics",
    "upkeep",
]
