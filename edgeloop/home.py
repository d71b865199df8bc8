"""The home directory: where one company's log, store, keys, freezes and reports lie.

Secret files have mode 0600, their folder 0700. A home marked *simulated* holds simulated time and refuses real traffic.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from edgeloop.errors import HomeError

PSEUDONYM_KEY = "pseudonym.key"
SEALING_KEY = "dead-letters.key"
API_KEYS = "api-keys.json"
_LETTERS = "letters"
_SIMULATED = "SIMULATED"
_LOG_ELSEWHERE = "LOG"


class Home:
    """Paths below one home directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = path / "log.sqlite"
        self.store = path / "store.sqlite"
        self.keys = path / "keys"
        self.freezes = path / "freezes"
        self.reports = path / "reports"

    def create(self) -> None:
        """Make the directory and its keys; a second time changes nothing."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise HomeError(
                f"cannot make the home {self.path}: {error.strerror}. Choose another with --home DIR"
            ) from error
        # Before the log: where there is a log and no key, the key was lost.
        if not self.has_log:
            for name in (PSEUDONYM_KEY, SEALING_KEY):
                self.secret(name)

    def require(self) -> None:
        """Raise unless the home exists."""
        if not self.path.is_dir():
            raise HomeError(
                f"there is no Edgeloop home at {self.path}. `edgeloop ingest FILE` makes one; "
                "--home DIR points to another"
            )

    @property
    def has_log(self) -> bool:
        """Whether events were, or may have been, taken here."""
        return self.log.exists() or (self.path / _LOG_ELSEWHERE).exists()

    def mark_log(self, where: str) -> None:
        """Note, before the first event is appended, that the log of this home lies elsewhere."""
        path = self.path / _LOG_ELSEWHERE
        if path.exists():
            return
        try:
            with path.open("w", encoding="utf-8") as file:
                file.write(f"the log of this home: {where}. Keys that are missing here were lost\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise HomeError(
                f"cannot write {path}: {error.strerror}. Is the disk of the home full, or may it only be read?"
            ) from error

    @property
    def simulated(self) -> bool:
        """Whether the home holds simulated time."""
        return (self.path / _SIMULATED).exists()

    def mark_simulated(self) -> None:
        """Mark the home; only a new one may be marked."""
        if self.has_log and not self.simulated:
            raise HomeError(f"{self.path} holds real events; simulate into a home of its own with --home DIR")
        self.create()
        (self.path / _SIMULATED).write_text("simulated time: real traffic is refused here\n", encoding="utf-8")

    def refuse_simulated(self) -> None:
        """Raise where the home is simulated: a real door must not write into it."""
        if self.simulated:
            raise HomeError(
                f"{self.path} holds a simulation on simulated time and takes no real events; "
                "use another home with --home DIR"
            )

    def key_file(self, name: str) -> Path:
        """Where a key is: in ``keys``, that of dead letters in ``keys/letters`` where there is such a folder.

        So a worker, which opens dead letters and makes no pseudonyms, can be given that key alone.
        """
        alone = self.keys / _LETTERS
        return alone / name if name == SEALING_KEY and alone.is_dir() else self.keys / name

    def secret(self, name: str) -> bytes:
        """32 random bytes kept in `key_file` (hex, mode 0600), made at first use."""
        path = self.key_file(name)
        before = self.keys / name
        if path != before and before.exists() and not path.exists():  # the folder is younger than the key
            self.write_secret(name, before.read_text(encoding="ascii"))
        try:
            return bytes.fromhex(path.read_text(encoding="ascii").strip())
        except FileNotFoundError:
            if self.has_log:
                log = self.log if self.log.exists() else "the log"
                raise HomeError(
                    f"{path} is missing, but {log} holds events made with it: with a new key every known customer "
                    "would be a stranger, and no dead letter would open. Put the key back from your backup"
                ) from None
        except ValueError:
            raise HomeError(
                f"{path} is damaged: it must hold hexadecimal digits only. Put it back from your backup"
            ) from None
        self.write_secret(name, secrets.token_hex(32))
        return self.secret(name)

    def write_secret(self, name: str, text: str) -> None:
        """Replace a file of ``keys`` at once, readable by the owner only."""
        path = self.key_file(name)
        temporary = path.with_name(f".{name}.{os.getpid()}")
        try:
            for folder in (self.path, self.keys):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError as error:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise HomeError(
                f"cannot write {path}: {error.strerror}. Is the disk of the home full, or may it only be read?"
            ) from error
