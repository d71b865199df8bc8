"""What did a misspelt name mean? The nearest of the names that there are, and where it belongs."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

_MOST_NAMED = 12


def meant(name: str, known: Iterable[str]) -> str:
    """A question for the nearest of the known names, else the list of them; empty where there are none.

    Names are near as `difflib.get_close_matches` has it: six tenths alike.
    """
    names = sorted(known)
    listed = f"there are {', '.join(names[:_MOST_NAMED])}{' …' if len(names) > _MOST_NAMED else ''}" if names else ""
    return _question(name, names) or listed


def misspelt(tree: Mapping[str, Any], cls: type[msgspec.Struct], section: str = "") -> str | None:
    """What a table of settings says that its class does not know: a key, or a word outside a choice; None if nothing.

    Args:
        tree: the table as it was read; tables inside it are looked at where the class has a class for them.
        section: where the table stands, such as ``metrics.conversion``; empty at the top.
    """
    hints = get_type_hints(cls)
    place = f"[{section}] " if section else ""
    for key, value in tree.items():
        if key not in hints:
            return f"{place}{key} is unknown ({_belongs(key, hints, cls)})"
        for inner, own, table in _tables(hints[key], f"{section}.{key}" if section else key, value):
            found = misspelt(table, inner, own)
            if found is not None:
                return found
        choices = get_args(hints[key]) if get_origin(hints[key]) is Literal else ()
        if choices and isinstance(value, str) and value not in choices:
            question = _question(value, choices)
            asked = f" ({question})" if question else ""
            return f"{place}{key} = {value!r} is none of {', '.join(map(str, choices))}{asked}"
    return None


def _question(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name.lower(), list(known), n=1)
    return f"did you mean {near[0]}?" if near else ""


def _tables(hint: Any, place: str, value: Any) -> Iterator[tuple[type[msgspec.Struct], str, Mapping[str, Any]]]:
    """(class, place, table) of each table that a key holds: itself, or those of a table of tables."""
    if not isinstance(value, Mapping):
        return
    if _is_table(hint):
        yield hint, place, value
    elif get_origin(hint) is dict and _is_table(get_args(hint)[1]):
        for name, table in value.items():
            if isinstance(table, Mapping):
                yield get_args(hint)[1], f"{place}.{name}", table


def _is_table(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, msgspec.Struct)


def _belongs(key: str, hints: Mapping[str, Any], cls: type[msgspec.Struct]) -> str:
    """Another section has just that name; else what is near here."""
    for name, inner in hints.items():
        if _is_table(inner) and key in inner.__struct_fields__:
            return f"it belongs under [{name}]"
    return meant(key, cls.__struct_fields__)
