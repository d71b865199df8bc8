"""The key of dead letters in a folder of its own, which can be given to workers without the others."""

from __future__ import annotations

from pathlib import Path

from edgeloop.home import PSEUDONYM_KEY, SEALING_KEY, Home


def files(home: Home) -> set[str]:
    return {str(path.relative_to(home.keys)) for path in home.keys.rglob("*") if path.is_file()}


def test_where_there_is_such_a_folder_its_key_is_made_in_it(tmp_path: Path) -> None:
    home = Home(tmp_path)
    (home.keys / "letters").mkdir(parents=True)
    home.create()
    assert files(home) == {PSEUDONYM_KEY, f"letters/{SEALING_KEY}"}
    assert (home.keys / "letters" / SEALING_KEY).stat().st_mode & 0o777 == 0o600


def test_a_key_that_is_older_than_the_folder_is_the_same_in_it(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.create()
    key = home.secret(SEALING_KEY)
    home.log.touch()
    (home.keys / "letters").mkdir()
    assert home.secret(SEALING_KEY) == key
    assert files(home) == {PSEUDONYM_KEY, SEALING_KEY, f"letters/{SEALING_KEY}"}
    (home.keys / SEALING_KEY).unlink()
    assert home.secret(SEALING_KEY) == key
