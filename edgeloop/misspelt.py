"""What did a misspelt name mean? The nearest of the names that there are, and where it belongs."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

_MOST_NAMED = 12


def meant(name: str, known: Iterable[str]) -> str:
    """A question for the nearest of the known names, else the list of them; empty where there are none.

    Names are near as `difflib.get_close_matches` has it: six tenths alike.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name.lower(), names, n=1)
    if near:
        return f"did you mean {near[0]}?"
    return f"there are {', '.join(names[:_MOST_NAMED])}{' …' if len(names) > _MOST_NAMED else ''}" if names else ""


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
        inner = hints[key]
        if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
            if isinstance(value, Mapping):
                found = misspelt(value, inner, f"{section}.{key}" if section else key)
                if found is not None:
                    return found
            continue
        named = get_args(inner)
        if (
            get_origin(inner) is dict
            and isinstance(named[1], type)
            and issubclass(named[1], msgspec.Struct)
            and isinstance(value, Mapping)
        ):
            for name, one in value.items():
                found = misspelt(one, named[1], f"{key}.{name}") if isinstance(one, Mapping) else None
                if found is not None:
                    return found
        choices = get_args(inner) if get_origin(inner) is Literal else ()
        if choices and isinstance(value, str) and value not in choices:
            near = difflib.get_close_matches(value.lower(), choices, n=1)
            asked = f" (did you mean {near[0]}?)" if near else ""
            return f"{place}{key} = {value!r} is none of {', '.join(map(str, choices))}{asked}"
    return None


def _belongs(key: str, hints: Mapping[str, Any], cls: type[msgspec.Struct]) -> str:
    """Another section has just that name; else what is near here."""
    for name, inner in hints.items():
        if isinstance(inner, type) and issubclass(inner, msgspec.Struct) and key in inner.__struct_fields__:
            return f"it belongs under [{name}]"
    return meant(key, cls.__struct_fields__)
