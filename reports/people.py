"""Who answers for it? The field's roles by their titles, with the person where the freeze names one."""

from __future__ import annotations

from collections.abc import Mapping

from edgeloop.store.freeze import Manifest
from reports import foreign, words
from reports.language import t
from reports.owners import role_title


def holders(manifest: Manifest) -> dict[str, str]:
    """Role → who holds it, as the freeze knows it; roles that nobody holds are absent."""
    return {role: foreign.name(held.name) for role, held in manifest.responsibility.holders.items()}


def who(role: str, holders: Mapping[str, str], with_role: str = "") -> str:
    """``Data engineer``, or ``Ana Silva (data engineer)`` where somebody holds the role.

    Args:
        holders: role → name.
        with_role: a second role that takes part.
    """
    first = _one(role, holders)
    text = t("{first} with {second}", first=first, second=_one(with_role, holders)) if with_role else first
    return words.capital(text)


def _one(role: str, holders: Mapping[str, str]) -> str:
    name = holders.get(role, "")
    return t("{name} ({role})", name=name, role=role_title(role)) if name else role_title(role)
