"""NDJSON and arrays, gzip in one or more members, and what is broken."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors import documents, mixpanel, typeform
from connectors.intake import read
from connectors.native import UnpackError, items_of_body, items_of_file, unpacked
from edgeloop.settings import MixpanelSettings, TypeformSettings
from tests.fakes import gzipped


def places(data: bytes) -> list[tuple[str, bool]]:
    return [(item.place, item.rejected is None) for item in map(read, items_of_file(io.BytesIO(data)))]


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"", []),
        (b"\n\n", []),
        (b'{"a":1}', [("line 1", True)]),
        (b'{"a":1}\r\n\n{"a":2}\n', [("line 1", True), ("line 3", True)]),
        (b'{"a":1\n{"a":2}\n', [("line 1", False), ("line 2", True)]),
        (b'{"a":"\xff"}\n{"a":2}', [("line 1", False), ("line 2", True)]),
        (gzipped(b'{"a":1}\n') + gzipped(b'{"a":2}\n'), [("line 1", True), ("line 2", True)]),
        (b"x", [("line 1", False)]),
    ],
)
def test_files(data: bytes, wanted: list[tuple[str, bool]]) -> None:
    assert places(data) == wanted


def test_a_broken_gzip_file_gives_what_was_readable_and_says_where_it_broke() -> None:
    whole = gzipped(b"\n".join(b'{"n":%d}' % i for i in range(100_000)), compresslevel=1)
    found = list(map(read, items_of_file(io.BytesIO(whole[: len(whole) // 2]))))
    assert len(found) > 1_000
    assert found[-1].rejected is not None
    assert found[-1].rejected.reason == "broken_gzip"
    assert all(item.rejected is None for item in found[:-2]), "only the line that broke may be lost"


def test_a_line_over_the_limit_is_cut_and_the_next_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "LINE_BYTES", 100)
    found = list(map(read, items_of_file(io.BytesIO(b'{"a":"' + b"x" * 1_000 + b'"}\n{"a":2}\n'))))
    assert [item.rejected is None for item in found] == [False, True]
    assert found[0].rejected is not None
    assert found[0].rejected.reason == "too_long"
    assert len(found[0].raw) == 100


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (b'[{"a":1},2]', [("index 0", True), ("index 1", True)]),
        (b" \n[]", []),
        (b'[{"a":1},', [("index 0", True), ("index 1", False)]),
        (b'[{"a":NaN},{"a":1},{"a":no},{"a":-Infinity}]', [(f"index {i}", i != 2) for i in range(4)]),
        (b'[no\n{"a":1}\n{"a":2}', [("line 1", False), ("line 2", True), ("line 3", True)]),
        (b'["a"]\n{"a":1}\n', [("line 1", True), ("line 2", True)]),
        (b'{"a":1}\nno\n', [("line 1", True), ("line 2", False)]),
        (b"", []),
    ],
)
def test_bodies(body: bytes, wanted: list[tuple[str, bool]]) -> None:
    assert [(item.place, item.rejected is None) for item in map(read, items_of_body(body))] == wanted


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b'[{"a":1},\n {"a":"],[{\\""}]\n', [("index 0", True), ("index 1", True)]),
        (b"\n\n[]", []),
        (b'[\n{"a":[1,{"b":2}]}\n]', [("index 0", True)]),
        (b'[{"a":1},no,{"a":2}]', [("index 0", True), ("index 1", False), ("index 2", True)]),
        (b'[{"a":1},]', [("index 0", True), ("index 1", False)]),
        (b'[{"a":1},{"a":', [("index 0", True), ("index 1", False)]),
        (b'[{"a":1}}, {"a":2}]', [("index 0", False), ("index 1", True)]),
        (b'[{"a":1}] {"a":2}', [("index 0", True), ("line 1, object 2", True)]),
        (b'[1,2]\n{"a":2}\n', [("line 1", True), ("line 2", True)]),  # NDJSON whose first line is no event
        (b'\xef\xbb\xbf{"a":1}\n', [("line 1", True)]),
        (gzipped(b'\xef\xbb\xbf[{"a":1}]'), [("index 0", True)]),
        (b"[" * 5_000 + b"\n" + b'{"a":1}', [("line 1", False), ("line 2", True)]),
    ],
)
def test_arrays_marks_and_depth(data: bytes, wanted: list[tuple[str, bool]]) -> None:
    assert places(data) == wanted


OBJECTS = st.lists(
    st.dictionaries(st.text(max_size=5), st.text(max_size=12) | st.integers() | st.lists(st.text(max_size=5))),
    max_size=6,
)


@settings(max_examples=150)
@given(objects=OBJECTS, chunk=st.integers(1, 40), indent=st.sampled_from([None, 1]), ascii_only=st.booleans())
def test_an_array_in_a_file_reads_the_same_whatever_the_chunks(
    objects: list[object], chunk: int, indent: int | None, ascii_only: bool
) -> None:
    data = json.dumps(objects, indent=indent, ensure_ascii=ascii_only).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(documents, "CHUNK_BYTES", chunk)
        found = list(map(read, items_of_file(Slow(data, chunk))))
    assert [item.value for item in found] == objects
    assert [item.place for item in found] == [f"index {i}" for i in range(len(objects))]


class Slow(io.BytesIO):
    """A pipe that gives a few bytes at a time, lines too."""

    def __init__(self, data: bytes, most: int) -> None:
        super().__init__(data)
        self._most = max(most, 3)

    def readline(self, size: int | None = -1, /) -> bytes:
        return super().readline(min(size, self._most) if size is not None and size >= 0 else self._most)


def test_an_element_over_the_limit_ends_the_array(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "LINE_BYTES", 100)
    monkeypatch.setattr(documents, "CHUNK_BYTES", 64)
    found = list(map(read, items_of_file(io.BytesIO(b'[{"a":1},{"a":"' + b"x" * 1_000 + b'"},{"a":2}]'))))
    assert [(i.place, i.rejected and i.rejected.reason) for i in found] == [("index 0", None), ("index 1", "too_long")]


@pytest.mark.parametrize(("size", "taken"), [(100, True), (101, False)])
@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_the_limit_is_of_the_line_without_its_end(
    monkeypatch: pytest.MonkeyPatch, size: int, taken: bool, end: bytes
) -> None:
    monkeypatch.setattr(documents, "LINE_BYTES", 100)
    line = b'"' + b"x" * (size - 2) + b'"' + end
    found = list(map(read, items_of_file(io.BytesIO(line + b"1\n" if end else line))))
    assert [i.rejected is None for i in found] == [taken, True] if end else [taken]


def test_one_object_over_several_lines_is_one_event() -> None:
    (found,) = map(read, items_of_body(json.dumps({"a": [1, 2]}, indent=2).encode()))
    assert (found.place, found.value) == ("index 0", {"a": [1, 2]})


def test_what_breaks_the_json_is_said_without_the_input() -> None:
    (found,) = map(read, items_of_body(b'{"a": Anna}'))
    assert found.rejected is not None
    assert "byte 6" in found.rejected.detail
    assert "Anna" not in found.rejected.detail


@settings(max_examples=100)
@given(parts=st.lists(st.binary(max_size=50), min_size=1, max_size=4), padding=st.integers(0, 9))
def test_every_member_of_a_gzip_body_is_unpacked(parts: list[bytes], padding: int) -> None:
    body = b"".join(gzipped(part) for part in parts) + b"\0" * padding
    assert unpacked(body, 1_000) == b"".join(parts)


@pytest.mark.parametrize(
    ("body", "limit", "too_large"),
    [
        (gzipped(b"x" * 100), 99, True),
        (gzipped(b"x" * 60) + gzipped(b"x" * 40), 99, True),
        (gzipped(bytes(50_000_000)), 1_000, True),
        (gzipped(b"x") + b"garbage", 99, False),
        (gzipped(b"x")[:-1], 99, False),
        (b"no gzip", 99, False),
    ],
)
def test_a_gzip_body_that_is_none_or_too_large(body: bytes, limit: int, too_large: bool) -> None:
    with pytest.raises(UnpackError) as error:
        unpacked(body, limit)
    assert error.value.too_large == too_large


@settings(max_examples=200)
@given(st.binary(max_size=80) | st.text('[]{},":\\ \n1a', max_size=40).map(str.encode))
def test_no_bytes_make_reading_fail(data: bytes) -> None:
    list(map(read, items_of_body(data)))
    list(map(read, items_of_file(io.BytesIO(data))))
    list(map(read, items_of_file(io.BytesIO(b"\x1f\x8b" + data))))
    list(mixpanel.items_of_file(io.BytesIO(data), MixpanelSettings()))
    typeform.item(data, TypeformSettings())


def test_a_value_that_is_no_number_is_absent_and_counted() -> None:
    (found,) = map(read, items_of_body(b'{"a":NaN,"b":[-Infinity,1],"c":"NaN \\"NaN"}'))
    assert found.value == {"a": None, "b": [None, 1], "c": 'NaN "NaN'}
    assert found.no_numbers == 2
    (found,) = map(read, items_of_body(b'{"a":"NaN","b":no}'))
    assert found.rejected is not None
