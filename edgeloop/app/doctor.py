"""``edgeloop doctor``: one finding per check, each with what to do; it reads, and changes nothing."""

from __future__ import annotations

import fcntl
import sys
from collections.abc import Iterator
from pathlib import Path

import apsw

from edgeloop.app import api_keys, doctor_amounts, doctor_data, doctor_inputs, doctor_kafka, doctor_people, letters, pdf
from edgeloop.app.finding import Check, Finding, Patient
from edgeloop.app.process import CONSUMER_LOCK
from edgeloop.app.ready import disk_condition
from edgeloop.clock import Clock, SystemClock
from edgeloop.errors import EdgeloopError
from edgeloop.home import PSEUDONYM_KEY, SEALING_KEY, Home
from edgeloop.log.base import LogUnavailableError
from edgeloop.settings import Settings, load, settings_file
from edgeloop.store.base import StoreUnavailableError

OLDEST_SQLITE = (3, 51, 3)
"""Older ones can corrupt a database in WAL mode."""
_KEY_BYTES = 32
_DEFAULTS = "mend it; what the other lines say is about the defaults"
_RESTORE_KEY = "put it back from your backup; with a new one every known customer would be a stranger"


def examine(home: Home, clock: Clock | None = None) -> list[Finding]:
    """Every finding, in order; where there is no home yet, only those that need none."""
    settings, about_settings = _settings(home)
    patient = Patient(home, settings, clock or SystemClock())
    findings = [_versions(), about_settings]
    if not home.path.is_dir():
        what = f"there is no home at {home.path} yet"
        return [*findings, Finding("warn", "home", what, "`edgeloop ingest FILE` or `edgeloop up` makes one")]
    try:
        for name, check in (_ON_KAFKA if patient.on_kafka else _CHECKS).items():
            findings += _findings(name, check, patient)
    finally:
        if patient.log is not None:
            patient.log.close()
        if patient.store is not None:
            patient.store.close()
    return findings


def _findings(name: str, check: Check, patient: Patient) -> list[Finding]:
    try:
        return list(check(patient))
    except EdgeloopError as error:
        return [Finding("fail", name, str(error), "see what it says")]
    except (LogUnavailableError, StoreUnavailableError) as error:
        return [Finding("fail", name, str(error), "mend what it says, then run `edgeloop doctor` again")]
    except (apsw.Error, OSError) as error:
        what = f"cannot be checked ({type(error).__name__})"
        return [Finding("fail", name, what, "mend what the other lines name, then run `edgeloop doctor` again")]


# The machine and the home


def _versions() -> Finding:
    python = ".".join(map(str, sys.version_info[:3]))
    what = f"Python {python}, SQLite {apsw.sqlite_lib_version()}"
    if tuple(int(part) for part in apsw.sqlite_lib_version().split(".")) >= OLDEST_SQLITE:
        return Finding("ok", "versions", what)
    oldest = ".".join(map(str, OLDEST_SQLITE))
    return Finding(
        "fail", "versions", f"{what}: databases can be corrupted before {oldest}", "pip install --upgrade apsw"
    )


def _settings(home: Home) -> tuple[Settings, Finding]:
    try:
        path = settings_file(home.path)
        settings = load(home.path)
    except EdgeloopError as error:
        return Settings(), Finding("fail", "settings", str(error), "mend it; the other lines are about the defaults")
    except OSError as error:
        what = f"{error.filename} cannot be read: {error.strerror}"
        return Settings(), Finding(
            "fail", "settings", what, "let this user read it; the other lines are about the defaults"
        )
    return settings, Finding("ok", "settings", f"from {path}" if path else "no edgeloop.toml: the defaults")


def _home(patient: Patient) -> Iterator[Finding]:
    home = patient.home
    what = f"{home.path}, simulated time: no real events" if home.simulated else str(home.path)
    if _mode(home.path) & 0o007:
        yield Finding("warn", "home", f"{home.path} is open to other users", f"chmod 700 {home.path}")
    else:
        yield Finding("ok", "home", what)


def _keys(patient: Patient) -> Iterator[Finding]:
    home = patient.home
    fine = True
    for name in (PSEUDONYM_KEY, SEALING_KEY):
        path = home.key_file(name)
        try:
            good = len(bytes.fromhex(path.read_text(encoding="ascii").strip())) >= _KEY_BYTES
        except FileNotFoundError:
            if home.has_log:
                fine = False
                yield Finding("fail", "keys", f"{path} is missing, and the log was made with it", _RESTORE_KEY)
            continue
        except ValueError:
            good = False
        if not good:
            fine = False
            yield Finding("fail", "keys", f"{path} is damaged", _RESTORE_KEY)
    for path in (home.keys, *sorted(home.keys.rglob("*"))):
        if path.exists() and _mode(path) & 0o077:
            fine = False
            yield Finding("fail", "keys", f"{path} is open to other users", f"chmod go= {path}")
    if fine:
        there = (home.keys / PSEUDONYM_KEY).exists()
        yield Finding(
            "ok", "keys", "there, for this user alone: keep a backup" if there else "made with the first event"
        )


def _disk(patient: Patient) -> Iterator[Finding]:
    min_free_mb = patient.settings.service.min_free_mb
    condition = disk_condition(patient.home.path, min_free_mb)
    if not condition.ok:
        yield Finding(
            "fail", "disk", condition.says, "make room: below it the service answers 503 to its load balancer"
        )
    elif not disk_condition(patient.home.path, 10 * min_free_mb).ok:
        yield Finding("warn", "disk", condition.says, "make room soon")
    else:
        yield Finding("ok", "disk", condition.says)


def _worker(patient: Patient) -> Iterator[Finding]:
    what = "no process drains this home now"
    try:
        with (patient.home.path / CONSUMER_LOCK).open(encoding="ascii") as file:
            # Shared, and given back at once: two doctors do not see each other.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        pass
    except BlockingIOError:
        what = "a process drains this home"
    yield Finding("ok", "worker", what)


def _senders(patient: Patient) -> Iterator[Finding]:
    count = sum(not key.person for key in api_keys.read(patient.home))
    if count:
        yield Finding("ok", "senders", f"{count} keys" if count > 1 else "1 key")
    else:
        yield Finding("warn", "senders", "no sender has a key: POST /v1/events answers 401", "`edgeloop keys create`")


def _hooks(patient: Patient) -> Iterator[Finding]:
    settings = patient.settings
    for vendor, secret, variable in (
        ("Typeform", settings.typeform.secret, "EDGELOOP_TYPEFORM_SECRET"),
        ("Zigpoll", settings.zigpoll.token, "EDGELOOP_ZIGPOLL_TOKEN"),
    ):
        check = vendor.lower()
        if secret:
            yield Finding("ok", check, "its secret is set")
        else:
            yield Finding("warn", check, "no secret: its webhook answers 401", f"set {variable}, if you use {vendor}")


def _reports(patient: Patient) -> Iterator[Finding]:
    """Mail and paper of the month's report."""
    home, own = patient.home, patient.settings
    given_up = [
        path.name[: len("2026-03")]
        for path in sorted(home.reports.glob("????-??.mail.json"))
        if (note := letters.note_of(home, path.name[: len("2026-03")])) is not None and note.state == "given up"
    ]
    if given_up:
        do = f"mend [mail], then `edgeloop report --month {given_up[-1]} --mail`"
        yield Finding("warn", "mail", f"the report of {', '.join(given_up)} could not be mailed", do)
    elif own.mail.host and not own.mail.to:
        yield Finding("warn", "mail", "nobody gets the month's report by mail", "name somebody in [mail] to")
    elif own.mail.host:
        yield Finding("ok", "mail", f"{len(own.mail.to)} addresses get the month's report")
    else:
        yield Finding("ok", "mail", "no mail server is set: no report is mailed")
    if own.publish.pdf:
        try:
            yield Finding("ok", "pdf", f"printed by {pdf.browser(own.publish)}")
        except pdf.NoBrowserError as error:
            yield Finding("warn", "pdf", str(error), "install Chromium, or set [publish] pdf = false")


_CHECKS: dict[str, Check] = {
    "home": _home,
    "keys": _keys,
    "disk": _disk,
    "log": doctor_data.check_log,
    "store": doctor_data.check_store,
    "offsets": doctor_data.check_offsets,
    "lag": doctor_data.check_lag,
    "dead letters": doctor_data.check_dead_letters,
    "amounts": doctor_amounts.check_amounts,
    "clock": doctor_data.check_clock,
    "device clocks": doctor_inputs.check_device_clocks,
    "worker": _worker,
    "wal": doctor_data.check_wal,
    "senders": _senders,
    "hooks": _hooks,
    "roles": doctor_people.check_roles,
    "reminders": doctor_people.check_reminders,
    "reports": _reports,
}
_ON_KAFKA: dict[str, Check] = {
    "home": _home,
    "keys": _keys,
    "disk": _disk,
    "libraries": doctor_kafka.check_libraries,
    "codecs": doctor_kafka.check_codecs,
    "brokers": doctor_kafka.check_brokers,
    "topics": doctor_kafka.check_kafka_topics,
    "partitioner": doctor_kafka.check_keys_of_records,
    "workers": doctor_kafka.check_workers,
    **{name: check for name, check in _CHECKS.items() if name not in ("home", "keys", "disk", "log", "worker")},
}


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o777
