"""Checks of ``edgeloop doctor`` about people: which roles nobody holds, and whether anybody is told of anything."""

from __future__ import annotations

from collections.abc import Iterator

from edgeloop.app.finding import Finding, Patient
from edgeloop.roles import DEPUTY, KINDS, OWNER, ROLES, responsibility
from edgeloop.store.actions import LEASE_US
from edgeloop.store.base import StatementError
from edgeloop.store.schema import ACTIONS, NOTICES

_TRIES = 3
"""A notice that was refused so often will not go through by itself."""


def check_roles(patient: Patient) -> Iterator[Finding]:
    """Which roles nobody holds; a warning as soon as something waits for one of them."""
    settings = patient.settings
    table = responsibility(settings.roles, settings.decisions)
    missing = [role for role in ROLES if table.holder(role) is None]
    waiting = sorted({role for role in _asked(patient) if role in missing})
    if waiting:
        what = f"a report asked something of {', '.join(waiting)}, and nobody holds that; nobody holds "
        yield Finding("warn", "roles", what + ", ".join(missing), _write(waiting[0]))
    elif missing:
        deciding = {table.duty(verdict).accountable for verdict in KINDS.values()}
        first = next((role for role in missing if role in deciding), missing[0])
        yield Finding("ok", "roles", f"nobody holds {', '.join(missing)}", _write(first))
    else:
        yield Finding("ok", "roles", "each has a holder")


def check_reminders(patient: Patient) -> Iterator[Finding]:
    """Whether those who are asked can be told, and whether what was sent went through."""
    settings, asked = patient.settings, _asked(patient)
    if not settings.mail.host and not settings.slack.webhook:
        what = "neither mail nor Slack is set: nobody is told what a report asks"
        do = "set [mail] host and sender, or EDGELOOP_SLACK_WEBHOOK"
        yield Finding("warn" if asked else "ok", "reminders", what, do)
        return
    told = asked | (set(settings.escalation.ladder) - {OWNER, DEPUTY})
    silent = [role for role in sorted(told) if (held := settings.roles.get(role)) and not held.address]
    if settings.mail.host and silent:
        what = f"no address of {', '.join(silent)}: no mail reaches whoever holds it"
        yield Finding("warn", "reminders", what, f'write [roles.{silent[0]}] address = "…"')
    stuck = _count(patient, f"{NOTICES.name} WHERE state = 'waiting' AND attempts >= {_TRIES}")
    if stuck:
        what = f"{stuck:,} notices were refused {_TRIES} times and more"
        yield Finding("warn", "reminders", what, "`edgeloop actions remind` says why")
    cut_off = _count(
        patient,
        f"{NOTICES.name} WHERE state = 'sending' AND repeats > 0 AND occurred_at <= {patient.now_us - LEASE_US}",
    )
    if cut_off:
        what = f"sending {cut_off:,} notices broke off twice; they may have arrived and are not sent again"
        yield Finding("warn", "reminders", what, "ask those whom `edgeloop actions` names")
    if not silent and not stuck and not cut_off:
        yield Finding("ok", "reminders", "sent by `edgeloop up`, or by `edgeloop actions remind` from cron")


def _write(role: str) -> str:
    return f'write [roles.{role}] with name = "…" and address = "…"'


def _asked(patient: Patient) -> set[str]:
    """The roles of actions that are open."""
    if patient.store is None:
        return set()
    sql = f"SELECT DISTINCT role FROM {ACTIONS.name} WHERE state IN ('proposed', 'accepted')"
    try:
        return {str(role) for (role,) in patient.store.query(sql)[1]}
    except StatementError:  # the version before made the tables; nothing was asked yet
        return set()


def _count(patient: Patient, what: str) -> int:
    if patient.store is None:
        return 0
    try:
        return int(patient.store.query(f"SELECT count(*) FROM {what}")[1][0][0])
    except StatementError:
        return 0
