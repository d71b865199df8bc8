"""Under which names does a survey carry the company's own ids?

A form's hidden fields and a poll's metadata have whatever names somebody gave them. The settings map them; besides, the
contract's own names and Typeform's customary short ones are taken, whatever their case.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edgeloop.identity import usable_id

_CUSTOMARY = {"customer_id": "cid", "courier_id": "courier"}
_ID_CHARACTERS = 512


class Carried:
    """What a survey carries, looked up by the contract's names."""

    def __init__(self, given: Mapping[str, Any], mapped: Mapping[str, str]) -> None:
        """``mapped``: the contract's name → the survey's."""
        self._given = {name.lower(): value for name, value in given.items()}
        self._mapped = mapped

    def values(self, name: str) -> Iterator[Any]:
        """Whatever stands under the contract's name: first where the settings say, then by its own names."""
        for spelt in spellings(name, self._mapped):
            if spelt in self._given:
                yield self._given[spelt]

    def person(self, name: str) -> str | None:
        """The first usable id; None where it names nobody."""
        return next((found for found in map(usable_id, self.values(name)) if found is not None), None)

    def link(self, name: str) -> str | None:
        """The same, of a thing: an id that the contract takes."""
        found = self.person(name)
        return found if found is not None and len(found) <= _ID_CHARACTERS else None

    def filled(self, name: str) -> bool:
        """Whether anything stands there, usable or not."""
        return any(self.values(name))


def spellings(name: str, mapped: Mapping[str, str]) -> tuple[str, ...]:
    """The names that are looked at, in their order, lower case."""
    return tuple(dict.fromkeys(n.lower() for n in (mapped.get(name), name, _CUSTOMARY.get(name)) if n))
