"""Who is to be told of which action now, and telling them: by mail and by a Slack webhook, once for each cause.

A notice is noted before it is sent and again after. If the sender dies in between, it is sent once more and then never
again; what was refused is tried again after growing pauses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import date, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

from connectors import mail, slack
from edgeloop.app.asked import listed
from edgeloop.clock import DAY_US, Clock, SystemClock, to_us
from edgeloop.errors import EdgeloopError
from edgeloop.home import Home
from edgeloop.roles import DEPUTY, OWNER, responsibility
from edgeloop.settings import Settings
from edgeloop.store.actions import Action, Cause, Channel, Notice
from edgeloop.store.base import Store
from edgeloop.store.opening import open_reader, open_store
from edgeloop.store.schema import NOTICES

Outcome = Literal["sent", "not sent", "no address", "would be sent"]


class Told(msgspec.Struct, frozen=True):
    """What became of one notice; ``detail`` holds no address."""

    action_id: str
    cause: Cause
    rung: str
    channel: Channel
    outcome: Outcome
    detail: str = ""


class Due(msgspec.Struct, frozen=True):
    """One cause to tell one rung of."""

    action: Action
    cause: Cause
    rung: str


def due(
    actions: Sequence[Action], ladder: Mapping[str, int], asked_us: Mapping[str, int], now_us: int, timezone: str
) -> Iterator[Due]:
    """What there is to tell now, whether or not it was told before.

    Args:
        actions: all of them.
        ladder: who is told after how many days.
        asked_us: action_id → when its owner was first told of it; others count from when the report asked.
        now_us: the time.
        timezone: of the dates by which something is asked.
    """
    for action in actions:
        if action.state == "proposed":
            yield Due(action, "asked", OWNER)
            cause: Cause = "unanswered"
            since = asked_us.get(action.action_id, action.occurred_at)
        elif action.state == "accepted":
            cause, since = "overdue", _end_of(action.due, timezone)
        else:
            continue
        for rung, days in ladder.items():
            if now_us >= since + days * DAY_US:
                yield Due(action, cause, rung)


def remind(home: Home, settings: Settings, *, clock: Clock | None = None, dry_run: bool = False) -> list[Told]:
    """Send every notice that is due and was not sent; what became of each that was tried.

    Raises:
        HomeError: there is no store yet. StoreUnavailableError: it does not answer.
    """
    channels: list[Channel] = []
    if settings.mail.host:
        channels.append("mail")
    if settings.slack.webhook:
        channels.append("slack")
    actions = [action for action in listed(home, settings) if action.open] if channels else []
    if not actions:
        return []
    now = clock or SystemClock()
    sent = _sent(home, settings)
    asked_us: dict[str, int] = {}
    for notice in sent:
        if notice.cause == "asked" and notice.state == "sent":
            asked_us[notice.action_id] = min(notice.occurred_at, asked_us.get(notice.action_id, notice.occurred_at))
    settled = {notice.key for notice in sent if notice.state == "sent"}
    told = []
    with closing(open_store(home, settings)) as store:
        for one in due(actions, settings.escalation.ladder, asked_us, now.now_us(), settings.timezone):
            for channel in channels:
                if (one.action.action_id, one.cause, one.rung, channel) in settled:
                    continue
                found = _tell(store, settings, one, channel, now, dry_run=dry_run)
                if found is None:
                    continue
                told.append(found)
                if one.cause == "asked" and found.outcome in ("sent", "would be sent"):
                    # `due` looks again before it goes on: who is asked only now has not failed to answer.
                    asked_us.setdefault(one.action.action_id, now.now_us())
    return told


def _tell(store: Store, settings: Settings, one: Due, channel: Channel, clock: Clock, *, dry_run: bool) -> Told | None:
    def told(outcome: Outcome, detail: str = "") -> Told:
        return Told(one.action.action_id, one.cause, one.rung, channel, outcome, detail)

    to = addresses(settings, one) if channel == "mail" else ()
    if channel == "mail" and not to:
        if one.rung == DEPUTY:  # a role need not have one
            return None
        role = one.action.role if one.rung == OWNER else one.rung
        return told("no address", f"[roles.{role}] names nobody with an address")
    if dry_run:
        return told("would be sent")
    notice = Notice(
        action_id=one.action.action_id, cause=one.cause, rung=one.rung, channel=channel, state="sending", attempts=1,
        repeats=0, occurred_at=clock.now_us(),
    )  # fmt: skip
    if not store.begin_notice(notice):
        return None  # another process sends it, or it was refused a moment ago
    from reports import written  # not before: it brings the statistics along, and most services send nothing

    subject, text = written(one.action, one.cause, one.rung, settings.report.locale)
    try:
        if channel == "mail":
            key = "-".join(notice.key)
            mail.send(mail.Mail(to=to, subject=subject, text=text, key=key), settings.mail)
        else:
            slack.send(settings.slack.webhook, f"{subject}\n{text}")
    except EdgeloopError as error:
        if not getattr(error, "unsure", False):
            store.end_notice(msgspec.structs.replace(notice, state="waiting", occurred_at=clock.now_us()))
        return told("not sent", str(error))
    store.end_notice(msgspec.structs.replace(notice, state="sent", occurred_at=clock.now_us()))
    return told("sent")


def addresses(settings: Settings, one: Due) -> tuple[str, ...]:
    """Where mail for a rung goes; who does the work is told too when it is asked of who answers for it."""
    roles = settings.roles
    held = roles.get(one.action.role if one.rung in (OWNER, DEPUTY) else one.rung)
    found = [] if held is None else [held.deputy_address if one.rung == DEPUTY else held.address]
    if one.cause == "asked":
        doing = responsibility(roles, settings.decisions).duty(one.action.verdict).responsible
        found += [roles[doing].address] if doing in roles else []
    return tuple(dict.fromkeys(filter(None, found)))


def _sent(home: Home, settings: Settings) -> list[Notice]:
    with closing(open_reader(home, settings)) as reader:
        rows = reader.query(f"SELECT {', '.join(NOTICES.names)} FROM {NOTICES.name}")[1]
    return [Notice(**dict(zip(NOTICES.names, row, strict=True))) for row in rows]


def _end_of(day: str, timezone: str) -> int:
    """The end of a date in a zone, as µs."""
    after = date.fromisoformat(day) + timedelta(days=1)
    return to_us(datetime(after.year, after.month, after.day, tzinfo=ZoneInfo(timezone)))
