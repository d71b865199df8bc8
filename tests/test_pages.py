"""Saved pages of a vendor's list call: however they were written to the file, the same rows come out."""

from __future__ import annotations

import gzip
import io
import json
from typing import Any

import pytest

from connectors import pages
from connectors.intake import Item

ROWS: list[Any] = [{"id": 1, "text": 'a } in "it" [', "no": {}}, {"id": 2, "list": []}, {"id": 3}]


def read(text: str | bytes) -> list[Item]:
    return list(pages.rows_of_file(io.BytesIO(text.encode() if isinstance(text, str) else text), "data"))


def values(text: str | bytes) -> list[Any]:
    return [item.value if item.rejected is None else item.rejected.reason for item in read(text)]


@pytest.mark.parametrize("indent", [None, 0, 2, "\t"])
def test_a_page_its_rows_and_arrays_are_read_alike(indent: int | str | None) -> None:
    page = json.dumps({"total": 3, "data": ROWS, "more": False}, indent=indent)
    lines = "\n".join(json.dumps(row) for row in ROWS)
    array = json.dumps(ROWS, indent=indent)
    for text in (page, lines, array, f"[{page}]", page.replace("\n", "\r\n"), "\ufeff" + page, "\n\n" + page + "\n"):
        assert values(text) == ROWS
        assert values(gzip.compress(text.encode())) == ROWS
    assert values(f"{page}\n{page}") == ROWS * 2
    assert values(f"{page}\n{lines}") == ROWS * 2


def test_a_row_of_a_page_has_a_place_and_bytes_of_its_own() -> None:
    found = read(json.dumps({"data": ROWS}, indent=1))
    assert [item.place for item in found] == ["line 1, row 0", "line 1, row 1", "line 1, row 2"]
    assert [json.loads(item.raw) for item in found] == ROWS
    assert [item.place for item in read(json.dumps([{"data": ROWS[:1]}, 5]))] == ["index 0, row 0", "index 1"]


def test_pages_without_rows() -> None:
    assert values("") == values('{"data": []}') == []
    assert values('{"data": {"id": 1}}\n{}') == [{"data": {"id": 1}}, {}]


def test_a_page_that_breaks_off_costs_only_itself() -> None:
    page = json.dumps({"data": ROWS}, indent=2)
    found = values(page[: len(page) // 2] + '\n{"id": 4}\nnonsense\n{"id": 5}')
    assert [value for value in found if value != "malformed"] == [{"id": 4}, {"id": 5}]
    assert found.count("malformed") > 1


def test_a_broken_line_does_not_take_the_rest_along() -> None:
    assert values('{"no end\n{"id": 1}\n{\n{"id": 2}\n{"id": 3},\n{"id"}\n{"id": 4}') == [
        "malformed", {"id": 1}, "malformed", {"id": 2}, {"id": 3}, "malformed", {"id": 4}
    ]  # fmt: skip


def test_what_is_no_json_together_either_is_given_line_by_line() -> None:
    assert values('{\n"a": 1,\n"b" 2\n}\n{"id": 1}') == ["malformed"] * 4 + [{"id": 1}]


def test_a_document_without_end_is_held_only_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "_PAGE_BYTES", 1_000)
    found = values("{\n" + '"a": 1,\n' * 1_000)
    assert found == ["malformed"] * 1_001


def test_a_damaged_gzip_file_gives_what_could_be_read() -> None:
    packed = gzip.compress(b"".join(b'{"data": [{"id": %d, "x": "%x"}]}\n' % (n, n**9) for n in range(20_000)))
    found = read(packed[: len(packed) // 2])
    assert len(found) > 100
    assert found[-1].rejected is not None
    assert found[-1].rejected.reason == "broken_gzip"
    whole = [item for item in found if item.rejected is None]
    assert len(whole) >= len(found) - 2, "only the line that broke may be lost"
    assert [item.value["id"] for item in whole] == list(range(len(whole)))


def test_what_breaks_off_inside_a_page_comes_before_the_damage_that_did_it() -> None:
    text = b'{\n"data": [\n' + b'{"id": 1},\n' * 200_000
    packed = gzip.compress(text, 1)
    reasons = [item.rejected.reason for item in read(packed[: len(packed) // 2]) if item.rejected is not None]
    assert reasons[0] == "malformed"
    assert reasons[-1] == "broken_gzip"


def test_a_row_that_has_no_bytes_of_its_own_keeps_those_it_came_in() -> None:
    deep: Any = 1
    for _ in range(3_000):
        deep = [deep]
    assert pages.encoded(deep, b"whole") == b"whole"
    assert pages.encoded({"a": 1}, b"whole") == b'{"a":1}'
