"""Keys of senders: shown once, kept as hashes, told apart by their end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edgeloop.app import api_keys
from edgeloop.errors import HomeError
from edgeloop.home import API_KEYS, Home
from tests.fakes import FixedClock, at

CLOCK = FixedClock(at("2026-02-03T12:00:00.123Z"))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.create()
    return home


def test_a_key_is_kept_as_a_hash_that_only_the_owner_reads(home: Home) -> None:
    key = api_keys.create(home, "edge", CLOCK)
    path = home.keys / API_KEYS
    assert path.stat().st_mode & 0o777 == 0o600
    assert key not in path.read_text()
    (kept,) = api_keys.read(home)
    assert (kept.name, kept.id, kept.created) == ("edge", key[-4:], "2026-02-03T12:00:00Z")


def test_every_key_opens_and_nothing_else(home: Home) -> None:
    first, second = api_keys.create(home, "a", CLOCK), api_keys.create(home, "b", CLOCK)
    keys = api_keys.read(home)
    assert first != second
    assert api_keys.allowed(keys, f"Bearer {first}")
    assert api_keys.allowed(keys, f"bearer  {second} ")
    for header in (
        None,
        "",
        "Bearer",
        "Bearer ",
        f"Basic {first}",
        first,
        f"Bearer {first}x",
        f"Bearer {keys[0].sha256}",
    ):
        assert not api_keys.allowed(keys, header), header
    assert not api_keys.allowed([], f"Bearer {first}")


def test_a_home_without_keys_has_none_and_a_damaged_file_says_what_to_do(home: Home) -> None:
    assert api_keys.read(home) == []
    home.write_secret(API_KEYS, "{")
    with pytest.raises(HomeError, match="backup"):
        api_keys.read(home)


def test_a_home_that_begins_with_a_key_is_its_users_alone(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    api_keys.create(home, "edge", CLOCK)
    assert home.path.stat().st_mode & 0o077 == 0
    assert home.keys.stat().st_mode & 0o077 == 0


def test_keys_that_are_made_and_removed_at_once_are_all_kept(home: Home) -> None:
    script = (
        "import sys, pathlib; from edgeloop.home import Home; from edgeloop.app import api_keys\n"
        "home = Home(pathlib.Path(sys.argv[1]))\n"
        "for n in range(20):\n"
        "    gone = api_keys.create(home, 'gone'); api_keys.create(home, sys.argv[2])\n"
        "    found = [k for k in api_keys.read(home) if k.sha256 == api_keys._hash(gone)]; assert found\n"
        "    if sum(k.id == found[0].id for k in api_keys.read(home)) == 1: api_keys.remove(home, found[0].id)\n"
    )
    made = [subprocess.Popen([sys.executable, "-c", script, str(home.path), name]) for name in ("a", "b", "c")]
    assert [process.wait(60) for process in made] == [0, 0, 0]
    names = [key.name for key in api_keys.read(home)]
    assert [names.count(name) for name in ("a", "b", "c")] == [20, 20, 20]
    assert [path.name for path in home.keys.glob(".*")] == [f".{API_KEYS}.lock"]


def test_no_key_ends_in_what_a_command_takes_for_an_option(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """`edgeloop keys remove -a_B` is an unknown option."""
    drawn = iter(["A" * 39 + "-a_B", "A" * 39 + "a-_B"])
    monkeypatch.setattr("secrets.token_urlsafe", lambda _bytes: next(drawn))
    assert api_keys.create(home, "edge", CLOCK)[-4:] == "a-_B"
