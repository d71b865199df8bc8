"""NDJSON and arrays, gzip in one or more members, and what is broken."""

from __future__ import annotations

import gzip
import io

import pytest

from connectors import native
from connectors.native import items_of_body, items_of_file


def places(data: bytes) -> list[tuple[str, bool]]:
    return [(item.place, item.rejected is None) for item in items_of_file(io.BytesIO(data))]


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"", []),
        (b"\n\n", []),
        (b'{"a":1}', [("line 1", True)]),
        (b'{"a":1}\r\n\n{"a":2}\n', [("line 1", True), ("line 3", True)]),
        (b'{"a":1\n{"a":2}\n', [("line 1", False), ("line 2", True)]),
        (b'{"a":"\xff"}\n{"a":2}', [("line 1", False), ("line 2", True)]),
        (gzip.compress(b'{"a":1}\n') + gzip.compress(b'{"a":2}\n'), [("line 1", True), ("line 2", True)]),
        (b"x", [("line 1", False)]),
    ],
)
def test_files(data: bytes, wanted: list[tuple[str, bool]]) -> None:
    assert places(data) == wanted


def test_a_broken_gzip_file_gives_what_was_readable_and_says_where_it_broke() -> None:
    whole = gzip.compress(b"\n".join(b'{"n":%d}' % i for i in range(100_000)), compresslevel=1)
    found = list(items_of_file(io.BytesIO(whole[: len(whole) // 2])))
    assert len(found) > 1_000
    assert found[-1].rejected is not None
    assert found[-1].rejected.reason == "broken_gzip"
    assert all(item.rejected is None for item in found[:-2]), "only the line that broke may be lost"


def test_a_line_over_the_limit_is_cut_and_the_next_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "LINE_BYTES", 100)
    found = list(items_of_file(io.BytesIO(b'{"a":"' + b"x" * 1_000 + b'"}\n{"a":2}\n')))
    assert [item.rejected is None for item in found] == [False, True]
    assert found[0].rejected is not None
    assert found[0].rejected.reason == "too_long"
    assert len(found[0].raw) == 100


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (b'[{"a":1},2]', [("index 0", True), ("index 1", True)]),
        (b" \n[]", []),
        (b'[{"a":1},', [("body", False)]),
        (b'{"a":1}\nno\n', [("line 1", True), ("line 2", False)]),
        (b"", []),
    ],
)
def test_bodies(body: bytes, wanted: list[tuple[str, bool]]) -> None:
    assert [(item.place, item.rejected is None) for item in items_of_body(body)] == wanted
