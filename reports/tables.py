"""Every table of the findings as rows, for CSV: one sheet per list of findings, whatever the findings hold.

The sheets follow from the types, so that what the findings gain is in the CSV too. A sheet of a list inside a list has
the names of what it belongs to in its first columns; texts and figures outside of any list are in the sheet `month`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import inspect

from reports.bounded import PICTURES
from reports.findings import Findings

MONTH = "month"
_NAMES = ("change_id", "key", "model_id", "title", "name", "label", "metric", "side")
_MOST_NAMES = 2
_JOINT = " | "


class Sheet(NamedTuple):
    """One table; cells are text, numbers or None."""

    name: str
    columns: tuple[str, ...]
    rows: list[tuple[object, ...]]


class _Parent(NamedTuple):
    """A finding with what names those that it belongs to."""

    names: tuple[object, ...]
    finding: Any


def sheets(findings: Findings) -> list[Sheet]:
    """The sheet `month` first, then one per list in the order of the findings; an empty list is a header alone."""
    told: list[tuple[str, object]] = []
    found: list[Sheet] = []
    _top(inspect.type_info(type(findings)), findings, "", told, found)
    return [Sheet(MONTH, ("what", "value"), [*told]), *found]


def _top(kind: inspect.Type, value: Any, prefix: str, told: list[tuple[str, object]], found: list[Sheet]) -> None:
    assert isinstance(kind, inspect.StructType)  # noqa: S101 -- findings are structs
    for field in kind.fields:
        if field.name in PICTURES:
            continue
        name, own = f"{prefix}{field.name}", getattr(value, field.name)
        item = _item(field.type)
        if isinstance(item, inspect.StructType) and not _is_list(field.type):
            if own is not None:
                _top(item, own, f"{name}.", told, found)
        elif item is not None and _is_table(item):
            found.extend(_sheets(name.replace(".", "_"), item, (), [_Parent((), each) for each in own]))
        else:
            told.append((name, _cell(own)))


def _sheets(name: str, kind: inspect.Type, names: tuple[str, ...], parents: Sequence[_Parent]) -> Iterator[Sheet]:
    """The sheet of a list and those of the lists inside it; ``parents`` are its findings."""
    if isinstance(kind, inspect.TupleType):
        columns = tuple(f"{i + 1}" for i in range(len(kind.item_types)))
        yield Sheet(name, names + columns, [(*p.names, *map(_cell, p.finding)) for p in parents])
        return
    assert isinstance(kind, inspect.StructType)  # noqa: S101 -- by `_is_table`
    flat = [(f.name, f.name) for f in kind.fields if not _nests(f.type)]
    yield Sheet(
        name,
        names + tuple(column for column, _ in flat),
        [(*p.names, *(_cell(getattr(p.finding, field)) for _, field in flat)) for p in parents],
    )
    own = [f.name for f in kind.fields if f.name in _NAMES]
    chosen = sorted(own, key=_NAMES.index)[:_MOST_NAMES]
    single = name.rsplit("_", 1)[-1]
    for field in kind.fields:
        if not _nests(field.type):
            continue
        item = _item(field.type)
        assert item is not None  # noqa: S101 -- by `_nests`
        inner = [
            _Parent((*p.names, *(_cell(getattr(p.finding, n)) for n in chosen)), each)
            for p in parents
            for each in _each(getattr(p.finding, field.name))
        ]
        yield from _sheets(f"{name}_{field.name}", item, (*names, *(f"{single}.{n}" for n in chosen)), inner)


def _each(value: Any) -> Sequence[Any]:
    if value is None:
        return ()
    return value if isinstance(value, tuple | list) else (value,)


def _is_list(kind: inspect.Type) -> bool:
    return isinstance(kind, inspect.VarTupleType | inspect.ListType)


def _item(kind: inspect.Type) -> inspect.Type | None:
    """What a list is of; a struct, or a struct that may be absent, is its own."""
    if isinstance(kind, inspect.VarTupleType | inspect.ListType):
        return kind.item_type
    if isinstance(kind, inspect.StructType):
        return kind
    if isinstance(kind, inspect.UnionType):
        return next((t for t in kind.types if isinstance(t, inspect.StructType)), None)
    return None


def _is_table(item: inspect.Type) -> bool:
    return isinstance(item, inspect.StructType | inspect.TupleType)


def _nests(kind: inspect.Type) -> bool:
    item = _item(kind)
    return item is not None and _is_table(item)


def _cell(value: object) -> object:
    if isinstance(value, tuple | list):
        return _JOINT.join(str(item) for item in value)
    if isinstance(value, dict):
        return msgspec.json.encode(value).decode()
    return value
