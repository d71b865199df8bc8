"""Files that are broken in every way a file can be, through the real command line: what is said, and what is in."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from connectors.documents import LINE_BYTES
from tests.fakes import gzipped

pytestmark = pytest.mark.slow


def event(n: int) -> bytes:
    return (
        b'{"type":"engagement","event_id":"g-%d","customer_id":"C-42","occurred_at":"2026-02-05T18:30:00Z",'
        b'"name":"order_placed","source":"app"}\n' % n
    )


def events(start: int, end: int) -> bytes:
    return b"".join(event(n) for n in range(start, end))


@dataclass
class Ran:
    code: int
    out: str
    err: str


class Shell:
    """Runs the command line in a process of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.home = path / "home"

    def __call__(self, *words: str, given: bytes = b"", before: str = "") -> Ran:
        line = [sys.executable, "-m", "edgeloop", *words, "--home", str(self.home)]
        if before:
            line = ["sh", "-c", f'{before}; exec "$@"', "sh", *line]
        ran = subprocess.run(line, input=given, capture_output=True, check=False, cwd=self.path)
        assert b"Traceback" not in ran.stderr, ran.stderr.decode()
        assert b"C-42" not in ran.stderr
        return Ran(ran.returncode, ran.stdout.decode(), ran.stderr.decode())

    def file(self, name: str, data: bytes) -> str:
        (self.path / name).write_bytes(data)
        return name

    def taken(self) -> int:
        """How many different events are in the tables."""
        self("process")
        found: list[dict[str, int]] = json.loads(self("sql", "SELECT count(*) AS n FROM engagement", "--json").out)
        return found[0]["n"]

    def letters(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self("dead-letters", "--json").out)
        return found


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


PACKED = gzipped(events(0, 30_000), compresslevel=1)
BROKEN = "the gzip file breaks off or is damaged after line "


@pytest.mark.parametrize(
    ("name", "data", "at_least", "says"),
    [
        ("broken off", PACKED[: len(PACKED) // 2], 10_000, BROKEN),
        ("damaged", PACKED[: len(PACKED) // 2] + b"\xff" * 200 + PACKED[len(PACKED) // 2 + 200 :], 10_000, BROKEN),
        ("checksum", PACKED[:-8] + b"12345678", 30_000, BROKEN + "30000: BadGzipFile"),
        ("garbage", PACKED + b"garbage", 30_000, BROKEN + "30000: BadGzipFile"),
        ("second member", gzipped(events(0, 7)) + gzipped(events(7, 9))[:-12], 7, BROKEN),
        ("from the start", b"\x1f\x8bnonsense", 0, "is damaged after its beginning"),
    ],
)
def test_a_broken_gzip_file_gives_what_can_be_read(
    shell: Shell, name: str, data: bytes, at_least: int, says: str
) -> None:
    ran = shell("ingest", shell.file(f"{name}.gz", data))
    assert ran.code == 3
    assert shell.taken() >= at_least
    (letter,) = (letter for letter in shell.letters() if letter["reason"] == "broken_gzip")
    assert letter["source"] == f"file:{name}.gz"
    assert says in letter["detail"]
    if name != "damaged":  # there, lines made of garbage are more than are shown
        assert f"{name}.gz, {letter['place']}: {letter['detail']}" in ran.err


@pytest.mark.parametrize(
    ("data", "taken"),
    [
        (gzipped(events(0, 5)) + gzipped(events(5, 9)) + bytes(512), 9),
        (b"\xef\xbb\xbf" + events(0, 3), 3),
        (events(0, 3).replace(b"\n", b"\r\n"), 3),
        (b"\xef\xbb\xbf" + events(0, 3).replace(b"\n", b"\r\n")[:-2], 3),
        (b"\n\r\n \n" + events(0, 2) + b"\n\n", 2),
        (b"", 0),
        (gzipped(b""), 0),
    ],
    ids=["members and padding", "mark", "crlf", "mark, crlf, no end", "blank lines", "empty", "empty gzip"],
)
def test_unusual_files_that_are_nothing_bad(shell: Shell, data: bytes, taken: int) -> None:
    ran = shell("ingest", shell.file("a.ndjson", data))
    assert (ran.code, f"taken in: {taken} events" in ran.err) == (0, True), ran.err
    assert shell.taken() == taken


def test_a_line_over_20_mb_is_hashed_whole_in_bounded_memory(shell: Shell) -> None:
    long = b'{"type":"x","note":"' + b"y" * (6 * LINE_BYTES) + b'"}'
    name = shell.file("long.ndjson", events(0, 2) + long + b"\r\n" + events(2, 4))
    # 120 MB in one line; the interpreter and what it loads need most of what is allowed here.
    ran = shell("ingest", name, before="ulimit -v 400000")
    assert ran.code == 3, ran.err
    assert "long.ndjson, line 3: it is longer than 20,971,520 bytes" in ran.err
    assert shell.taken() == 4
    (letter,) = shell.letters()
    assert (letter["reason"], letter["bytes"]) == ("too_long", len(long))
    shown = shell("dead-letters", "show", letter["id"], "--json")
    (whole,) = json.loads(shown.out)
    assert whole["sha256"] == hashlib.sha256(long).hexdigest()
    assert whole["content"] == long[:4_096].decode()
    other = Shell(shell.path / "other")
    other.path.mkdir()
    other("ingest", other.file("long.ndjson", long.replace(b'y"}', b'z"}')))
    assert other.letters()[0]["bytes"] == len(long)
    ran = shell("dead-letters", "replay", "--all")
    assert (ran.code, f"{letter['id']} stays" in ran.err) == (3, True)


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("source", ["events", "mixpanel"])
def test_two_long_lines_that_differ_at_their_end_are_two(
    tmp_path: Path, end: bytes, packed: bool, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from connectors import documents, mixpanel, native
    from edgeloop.settings import MixpanelSettings

    monkeypatch.setattr(documents, "LINE_BYTES", 100)
    monkeypatch.setattr(documents, "CHUNK_BYTES", 7)
    for size in range(101, 125):
        line = b"{" + b"y" * (size - 2) + b"z"
        (tmp_path / "f").write_bytes(gzipped(line + end) if packed else line + end)
        with (tmp_path / "f").open("rb") as file:
            found = list(
                native.items_of_file(file) if source == "events" else mixpanel.items_of_file(file, MixpanelSettings())
            )
        (item,) = found
        assert item.rejected is not None
        assert item.rejected.reason == "too_long"
        assert item.whole is not None
        wanted = line + b"\r" if end == b"\r" else line
        assert (item.whole.size, item.whole.sha256) == (len(wanted), hashlib.sha256(wanted).hexdigest())
        assert item.raw == line[:100]


def test_an_element_over_20_mb_ends_its_array_and_is_hashed_to_the_end_of_the_file(shell: Shell) -> None:
    rest = b'{"type":"x","note":"' + b"y" * (2 * LINE_BYTES) + b'"},' + event(1).strip() + b"]"
    ran = shell("ingest", shell.file("long.json", b"[" + event(0).strip() + b"," + rest))
    assert ran.code == 3
    assert "long.json, index 1: it is longer than 20,971,520 bytes; the array is not read any further" in ran.err
    (letter,) = shell.letters()
    (whole,) = json.loads(shell("dead-letters", "show", letter["id"], "--json").out)
    assert (whole["size"], whole["sha256"]) == (len(rest), hashlib.sha256(rest).hexdigest())
    assert shell.taken() == 1


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"PK\x03\x04" + random.Random(1).randbytes(100_000), "a zip file, no JSON: unpack it first"),
        (b"(\xb5/\xfd" + random.Random(1).randbytes(9), "a zstd file"),
        (b"PAR1\n\n\n\n" + random.Random(1).randbytes(5_000), "a Parquet file, no JSON: write it as NDJSON first"),
        (events(0, 2).decode().encode("utf-16"), "UTF-16 text, no JSON: write it as UTF-8 first"),
    ],
)
@pytest.mark.parametrize("vendor", [(), ("--from", "zigpoll")])
def test_a_file_that_is_no_text_is_one_dead_letter(
    shell: Shell, data: bytes, kind: str, vendor: tuple[str, ...]
) -> None:
    ran = shell("ingest", shell.file("b.bin", data), *vendor)
    assert ran.code == 3
    assert f"b.bin, line 1: the file is {kind}" in ran.err
    (letter,) = shell.letters()
    assert (letter["reason"], letter["bytes"]) == ("no_text", len(data))


def test_other_bytes_are_a_dead_letter_a_line_and_what_follows_is_in(shell: Shell) -> None:
    data = events(0, 1) + b"\x00\xff\xfe{]\n\x80\n" + events(1, 2)
    ran = shell("ingest", shell.file("b.bin", data))
    assert ran.code == 3
    assert "b.bin, line 2 to 3: none of these 2 lines is JSON" in ran.err
    assert shell.taken() == 2


@pytest.mark.parametrize("name", [".", "missing.ndjson"])
def test_what_is_no_file_is_named_and_what_came_before_is_in(shell: Shell, name: str) -> None:
    ran = shell("ingest", shell.file("a.ndjson", events(0, 3)), name, shell.file("b.ndjson", events(3, 4)))
    assert ran.code == 2
    assert f"cannot read {name}: " in ran.err
    assert shell.taken() == 3


def test_a_file_that_stops_being_readable_says_so(shell: Shell) -> None:
    if not Path("/proc/self/mem").exists():
        pytest.skip("no file here that opens and cannot be read")
    ran = shell("ingest", "/proc/self/mem")
    assert ran.code == 3
    assert "mem, after its beginning: the file cannot be read any further after its beginning: Input/output" in ran.err


def test_a_hyphen_is_standard_input_and_an_unknown_option_is_no_file(shell: Shell) -> None:
    assert shell("ingest", shell.file("a.ndjson", events(0, 2)), "-", given=events(2, 3)).code == 0
    assert shell.taken() == 3
    ran = shell("ingest", "a.ndjson", "--frob")
    assert (ran.code, ran.err) == (2, "edgeloop: Unknown option: --frob. See `edgeloop --help`.\n")


@pytest.mark.parametrize("cut", [1, 40])
def test_standard_input_that_ends_inside_a_line(shell: Shell, cut: int) -> None:
    ran = shell("ingest", "-", given=events(0, 3)[:-cut])
    if cut == 1:  # only the end of the line is missing
        assert (ran.code, shell.taken()) == (0, 3)
        return
    assert ran.code == 3
    assert "standard input, line 3: this is no JSON" in ran.err
    assert shell.taken() == 2


def test_a_pipe_whose_writer_dies_inside_a_line(shell: Shell) -> None:
    fifo = shell.path / "pipe"
    os.mkfifo(fifo)

    def write() -> None:
        with fifo.open("wb") as file:
            for piece in (events(0, 1_000), event(1_000)[:50]):
                file.write(piece)
                file.flush()

    writer = threading.Thread(target=write)
    writer.start()
    ran = shell("ingest", "pipe")
    writer.join(10)
    assert ran.code == 3
    assert "pipe, line 1001: this is no JSON" in ran.err
    assert shell.taken() == 1_000


def test_replayed_files_are_held_to_the_same(shell: Shell) -> None:
    shell("ingest", shell.file("a.ndjson", events(0, 2_000)))
    assert shell("replay", "--export", "all.ndjson.gz").code == 0
    data = (shell.path / "all.ndjson.gz").read_bytes()
    ran = shell("replay", shell.file("cut.gz", data[: len(data) // 2]))
    assert ran.code == 3
    assert "cut.gz, after line " in ran.err
    assert shell.taken() == 2_000
    assert shell("replay", ".").code == 2
