"""Dead letters: sealed, recognisable, opened with the right key only."""

from __future__ import annotations

import msgspec
import pytest

from edgeloop import sealing
from edgeloop.events import Change
from edgeloop.sealing import HEAD_BYTES, WHOLE_BYTES, DeadLetter, Sealer, UnsealError, readable_detail

SEALER = Sealer(b"k" * 32)


def letter(raw: bytes, **changes: str) -> DeadLetter:
    words = {"reason": "malformed", "detail": "no JSON", "source": "http", "place": "line 3"} | changes
    return SEALER.dead_letter(**words, received_us=1_770_112_800_000_000, raw=raw)


def test_the_bytes_come_back_and_are_nowhere_in_the_record() -> None:
    made = letter(b"secret of Anna")
    assert SEALER.open(made) == b"secret of Anna"
    record = sealing.encode(made)
    assert b"Anna" not in record
    assert sealing.decode(record) == made
    assert DeadLetter.of_row(made.row()) == made  # type: ignore[arg-type]


def test_the_same_input_from_the_same_place_is_the_same_letter() -> None:
    assert letter(b"x").dead_letter_id == letter(b"x").dead_letter_id
    others = [letter(b"y"), letter(b"x", place="line 4"), letter(b"x", source="file:a"), letter(b"x", reason="future")]
    assert letter(b"x").dead_letter_id not in {other.dead_letter_id for other in others}


def test_another_key_or_a_changed_byte_does_not_open_it() -> None:
    made = letter(b"x")
    with pytest.raises(UnsealError, match="put back the keys"):
        Sealer(b"z" * 32).open(made)
    broken = msgspec.structs.replace(made, sealed=made.sealed[:-1] + bytes([made.sealed[-1] ^ 1]))
    with pytest.raises(UnsealError):
        SEALER.open(broken)


def test_large_input_keeps_its_head_and_the_hash_of_all() -> None:
    raw = b"a" * (WHOLE_BYTES + 1)
    made = letter(raw)
    assert SEALER.open(made) == raw[:HEAD_BYTES]
    assert made.size == len(raw)
    assert made.sha256 != letter(raw[:-1] + b"b").sha256


def test_a_detail_quotes_nothing_of_the_input() -> None:
    assert readable_detail(ValueError("Invalid enum value 'Anna' - at `$.unit`")) == (
        "Invalid enum value (not shown) - at `$.unit`"
    )


@pytest.mark.parametrize("value", ["O'Brien, a@b.de", "'", 'a"b', "x' - at `$.id`", "new\nline a@b.de"])
def test_a_detail_quotes_nothing_whatever_quotes_the_value_holds(value: str) -> None:
    kind = {"type": "change", "change_id": "c", "model_id": "m", "to_version": "2", "kind": value, "occurred_at": "x"}
    with pytest.raises(msgspec.ValidationError) as error:
        msgspec.convert(kind, Change)
    assert readable_detail(error.value) == "Invalid enum value (not shown) - at `$.kind`"


def test_our_own_patterns_are_shown() -> None:
    error = msgspec.ValidationError("Expected `str` matching regex '^[A-Z]{3}$' - at `$.currency`")
    assert "^[A-Z]{3}$" in readable_detail(error)
