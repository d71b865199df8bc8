"""Whatever layout a writer gave a file of JSON, the same documents are read, and what is broken costs itself alone."""

from __future__ import annotations

import gzip
import io
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors import documents, mixpanel, native
from connectors.documents import documents_of_file
from connectors.intake import Item, read
from edgeloop.settings import MixpanelSettings

Layout = Callable[[list[Any]], str]
LAYOUTS: dict[str, Layout] = {
    "lines": lambda rows: "".join(json.dumps(row) + "\n" for row in rows),
    "lines without the last end": lambda rows: "\n".join(map(json.dumps, rows)),
    "lines, CRLF": lambda rows: "".join(json.dumps(row) + "\r\n" for row in rows),
    "lines, CR alone": lambda rows: "".join(json.dumps(row) + "\r" for row in rows),
    "lines with commas": lambda rows: ",\n".join(map(json.dumps, rows)),
    "array on one line": json.dumps,
    "array without blanks": lambda rows: json.dumps(rows, separators=(",", ":")),
    "array, an element a line": lambda rows: "[" + ",\n".join(map(json.dumps, rows)) + "]",
    "array, pretty": lambda rows: json.dumps(rows, indent=2),
    "array, tabs and CRLF": lambda rows: json.dumps(rows, indent="\t").replace("\n", "\r\n"),
    "array, a row of brackets": lambda rows: json.dumps(rows, indent=0),
    "an array a line": lambda rows: "".join(json.dumps([row]) + "\n" for row in rows),
    "arrays joined": lambda rows: "".join(json.dumps([row]) for row in rows),
    "joined": lambda rows: "".join(map(json.dumps, rows)),
    "joined by a blank": lambda rows: " ".join(map(json.dumps, rows)),
    "pretty, one after the other": lambda rows: "\n".join(json.dumps(row, indent=2) for row in rows),
    "pretty, joined": lambda rows: "".join(json.dumps(row, indent=1) for row in rows),
    "pretty without indent": lambda rows: "\n".join(json.dumps(row, indent=0) for row in rows),
    "text sequence (RFC 7464)": lambda rows: "".join("\x1e" + json.dumps(row) + "\n" for row in rows),
    "each with a mark": lambda rows: "".join("\ufeff" + json.dumps(row) + "\n" for row in rows),
}
SEVERAL_LINES = [name for name, layout in LAYOUTS.items() if layout([{"a": 1}]).strip("[]\r\n").count("\n")]
TEXTS = st.text(st.sampled_from('a"\\{}[],:\n\0 ñ'), max_size=8)
VALUES = st.recursive(TEXTS | st.integers() | st.none(), lambda v: st.lists(v, max_size=3) | st.dictionaries(TEXTS, v))
ROWS = st.lists(st.dictionaries(TEXTS, VALUES, min_size=1, max_size=3), max_size=5)
ROW = {"event": "Order", "list": [{"a": 1}, {"b": '}{"'}], "text": 'a "quoted" }, {'}


def values(data: bytes, **arguments: Any) -> list[Any]:
    found = [read(item) for item in documents_of_file(io.BytesIO(data), **arguments)]
    return [item.value if item.rejected is None else item.rejected.reason for item in found]


def items(data: bytes) -> list[Item]:
    return [read(item) for item in documents_of_file(io.BytesIO(data))]


@settings(max_examples=60)
@given(rows=ROWS, chunk=st.integers(1, 60), packed=st.booleans())
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same(layout: str, rows: list[Any], chunk: int, packed: bool) -> None:
    data = LAYOUTS[layout](rows).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(documents, "CHUNK_BYTES", chunk)
        assert values(gzip.compress(data, 1) if packed else data) == rows


@pytest.mark.parametrize("layout", LAYOUTS)
def test_files_put_together_are_read_as_they_were(layout: str) -> None:
    rows = [ROW | {"n": n} for n in range(3)]
    for other in LAYOUTS.values():
        assert values((LAYOUTS[layout](rows) + "\n" + other(rows)).encode()) == rows * 2
    assert values(b"\0" * 9 + LAYOUTS[layout](rows).encode() + b"\0" * 5_000) == [*rows, "padding"]


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name not in SEVERAL_LINES])
@pytest.mark.parametrize(
    "torn",
    [
        '{"event":"Order","te',
        '{"event":"Order","properties":{"time":1',
        '{"event":"Order","properties":{"time":',
        '{"event":"Order",',
        '{"event":"Order"}}',
        '{"event":"Order"]',
        '{"event":"Order","list":[{"a":1}',
        "{",
    ],
)
def test_what_breaks_off_costs_itself_alone(layout: str, torn: str) -> None:
    """A writer that was killed and began again: with or without a line's end between."""
    rows = [ROW | {"n": n} for n in range(4)]
    text = LAYOUTS[layout](rows)
    begin = text.index(json.dumps(rows[2], separators=(",", ":") if "blanks" in layout else None))
    for joint in ("\n", "\0\0\0\0", ""):
        if joint == "" and torn.endswith((":", ",", '"')):
            continue  # then what follows may be its value
        found = values((text[:begin] + torn + joint + text[begin:]).encode())
        assert [value for value in found if isinstance(value, dict)] == rows, (joint, found)
        assert "malformed" in found


def test_a_value_that_stands_in_a_broken_object_is_no_document() -> None:
    assert values(b'{"a":{"b":1},"c":[{"d":1},{"e":2}],"x\n{"f":1}\n') == ["malformed", {"f": 1}]
    assert values(b'{"type":"order","extra":{}},"value":5}\n{"f":1}') == ["malformed", {"f": 1}]
    assert values(b'{"a":1} behind\n{"f":1}') == ["malformed", {"f": 1}]


def test_each_has_the_place_where_it_begins() -> None:
    data = b'{"a":1}{"a":2}\n\n{\n"a":3\n}\n{"a":4}\n[{"a":5},{"a":6}]\nno\n'
    assert [(item.place, item.value and item.value["a"]) for item in items(data)] == [
        ("line 1", 1), ("line 1, object 2", 2), ("line 3", 3), ("line 6", 4), ("line 7, index 0", 5),
        ("line 7, index 1", 6), ("line 8", None),
    ]  # fmt: skip


def test_padding_is_counted_and_said_once() -> None:
    found = items(b'{"a":1}\n' + bytes(4_096) + b'{"a":2}\n{"a":3}' + bytes(1_000) + b"\n")
    assert [item.value and item.value["a"] for item in found] == [1, 2, 3, None]
    assert found[-1].place == "line 2"
    assert found[-1].rejected is not None
    assert found[-1].rejected.reason == "padding"
    assert found[-1].rejected.detail.startswith("5,096 NUL bytes in 2 places were skipped")


def test_numbers_that_are_none_are_absent_in_every_layout() -> None:
    for data in (b'{"a":NaN}\n{"a":1}\n', b'[{"a":NaN},{"a":1}]', b'{"a":NaN}{"a":1}', b'{\n"a": NaN\n}\n{"a":1}'):
        found = items(data)
        assert [(item.value["a"], item.no_numbers) for item in found] == [(None, 1), (1, 0)]


@pytest.mark.parametrize("joint", [b"", b",", b"\n", bytes(3)])
def test_memory_is_bounded_by_one_document(joint: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of 12 MB on one line: never more of it is held than a chunk and what it grows by."""
    import tracemalloc

    one = json.dumps(ROW | {"note": "x" * 500}).encode() + joint
    times = (12 << 20) // len(one)

    class Endless(io.RawIOBase):
        def __init__(self) -> None:
            self.left = times * len(one)
            self.pattern = one * (1 << 12)
            self.at = 0

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            begin = self.at % len(one)
            part = self.pattern[begin : begin + min(len(buffer), self.left, len(self.pattern) - begin)]
            buffer[: len(part)] = part
            self.at += len(part)
            self.left -= len(part)
            return len(part)

    tracemalloc.start()
    file = io.BufferedReader(Endless())
    assert sum(1 for item in documents_of_file(file) if item.rejected is None) == times
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20


@pytest.mark.parametrize(
    "unit",
    [
        b'{"a":',
        b'{"a":1,"list":\n',
        b"{",
        b"[{",
        b'{"',
        b'"{',
        b'{"a":1}x',
        b'{"a":{"b":1},',
        b"\0",
        b"}{",
        b'{"a":NaN}',
        b'\\"{',
    ],
)
def test_no_input_costs_more_than_its_length(unit: bytes) -> None:
    """Twice as much takes about twice as long: nothing is looked at again and again."""

    def seconds(size: int) -> float:
        data = unit * (size // len(unit))
        best = 9.0
        for _ in range(2):
            begin = time.process_time()
            for _ in documents_of_file(io.BytesIO(data)):
                pass
            best = min(best, time.process_time() - begin)
        return best

    small, large = seconds(50_000), seconds(400_000)
    assert large < 24 * small + 0.2, (small, large)


def test_mixpanels_own_tool_writes_an_array_on_one_line() -> None:
    """mixpanel-utils 2.2.7, ``export_events(format="json")``."""
    rows = [
        {"event": "Order", "properties": {"time": 1767225600 + n, "distinct_id": f"C-{n}", "$insert_id": f"i-{n}"}}
        for n in range(3)
    ]
    found = list(mixpanel.items_of_file(io.BytesIO(json.dumps(rows).encode()), MixpanelSettings()))
    assert [item.value["customer_id"] for item in found] == ["C-0", "C-1", "C-2"]
    assert [item.place for item in found] == ["index 0", "index 1", "index 2"]


def test_a_later_part_of_a_file_goes_on_with_its_own_lines() -> None:
    found = list(native.items_of_file(io.BytesIO(b'{"a":1}\nno\n'), 41))
    assert [item.place for item in found] == ["line 41", "line 42"]
