"""What a report asks of people, as rows: actions, the history of their states, and the notices sent about them.

An action goes from proposed to accepted to done, or is dropped with a reason. The rules are pure; a store applies them
inside one short transaction, so that two people who answer at once do not both win.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from edgeloop.clock import SECOND_US
from edgeloop.errors import UsageError
from edgeloop.store.rows import Verdict

State = Literal["proposed", "accepted", "done", "dropped"]
Cause = Literal["asked", "unanswered", "overdue"]
Channel = Literal["mail", "slack"]
NoticeState = Literal["sending", "sent", "waiting"]

OPEN: tuple[State, ...] = ("proposed", "accepted")
NEXT: dict[State, tuple[State, ...]] = {
    "proposed": ("accepted", "dropped"),
    "accepted": ("done", "dropped"),
    "done": (),
    "dropped": (),
}
"""State → those that may follow."""
MOST_REASON = 1_000
"""Letters of a reason; what is longer is refused, not cut."""
LEASE_US = 600 * SECOND_US
"""After so long a notice that was begun and never ended is taken for one whose sender died."""
_FIRST_WAIT_US, _LONGEST_WAIT_US = 60 * SECOND_US, 6 * 3_600 * SECOND_US


class Action(msgspec.Struct, kw_only=True, frozen=True):
    """One decision asked; fields in the order of the columns of ``actions``."""

    action_id: str
    month: str
    change_id: str
    model_id: str
    from_version: str | None = None
    to_version: str
    verdict: Verdict
    title: str
    asked: str
    why: str
    role: str
    owner: str
    occurred_at: int
    due: str
    state: State = "proposed"
    accepted_at: int | None = None
    closed_at: int | None = None
    reason: str | None = None

    @property
    def open(self) -> bool:
        """Whether something is still to be done."""
        return self.state in OPEN

    def late(self, today: str) -> bool:
        """Whether it is open after its date; ``today`` is a date of the company's zone, YYYY-MM-DD."""
        return self.open and self.due < today


class Answer(msgspec.Struct, kw_only=True, frozen=True):
    """One step of an action's history; fields in the order of the columns of ``action_history``."""

    action_id: str
    occurred_at: int
    state: State
    who: str
    reason: str | None = None


class Notice(msgspec.Struct, kw_only=True, frozen=True):
    """One message about one cause; fields in the order of the columns of ``notices``."""

    action_id: str
    cause: Cause
    rung: str
    channel: Channel
    state: NoticeState
    attempts: int
    repeats: int
    occurred_at: int

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What makes it one message."""
        return self.action_id, self.cause, self.rung, self.channel


class IllegalStepError(UsageError):
    """An action is not in a state from which this step leads."""


class NoSuchActionError(UsageError):
    """There is no action of that id."""


def action_id(month: str, change_id: str, verdict: str) -> str:
    """The same for the same decision, however often its report is made."""
    return hashlib.sha256(f"{month}\0{change_id}\0{verdict}".encode()).hexdigest()[:10]


def moved(action: Action, answer: Answer) -> Action:
    """The action after an answer.

    Raises:
        IllegalStepError: no such step from its state. UsageError: dropped without a reason, or with one too long.
    """
    if answer.state not in NEXT[action.state]:
        raise IllegalStepError(_refusal(action, answer.state))
    reason = (answer.reason or "").strip()
    if answer.state == "dropped" and not reason:
        raise UsageError("an action is dropped with a reason: say why, so that the next report can")
    if len(reason) > MOST_REASON:
        raise UsageError(f"the reason has {len(reason):,} letters, and {MOST_REASON:,} are the most")
    return msgspec.structs.replace(
        action,
        state=answer.state,
        accepted_at=answer.occurred_at if answer.state == "accepted" else action.accepted_at,
        closed_at=answer.occurred_at if answer.state in ("done", "dropped") else None,
        reason=reason or action.reason,
    )


def _refusal(action: Action, wanted: State) -> str:
    what = f"“{action.title}” ({action.action_id})"
    if action.state == wanted:
        return f"{what} is {wanted} already"
    if not action.open:
        return f"{what} is {action.state}, which is the end of it"
    if wanted == "done":
        return f"{what} is {action.state}: accept it first, then say that it is done"
    return f"{what} is {action.state} and cannot be {wanted} again"


def begun(found: Notice | None, wanted: Notice) -> Notice | None:
    """The notice as it is noted before it is sent, or None where it must not be sent (again) now.

    One that was refused is tried again after a growing pause. One whose sender died between the sending and the note
    may have been sent: it is repeated once and never more.
    """
    if found is None:
        return msgspec.structs.replace(wanted, state="sending", attempts=1, repeats=0)
    since = wanted.occurred_at - found.occurred_at
    if found.state == "waiting" and since >= min(_FIRST_WAIT_US << min(found.attempts, 20), _LONGEST_WAIT_US):
        repeats = found.repeats
    elif found.state == "sending" and found.repeats == 0 and since >= LEASE_US:
        repeats = 1
    else:
        return None
    return msgspec.structs.replace(
        found, state="sending", attempts=found.attempts + 1, repeats=repeats, occurred_at=wanted.occurred_at
    )


def as_row(struct: Action | Answer | Notice) -> tuple[Any, ...]:
    """The cells in the order of the columns."""
    return msgspec.structs.astuple(struct)


def one_of(actions: Sequence[Action], wanted: str) -> Action:
    """The action of an id, or of the first characters of one.

    Raises:
        NoSuchActionError: none, or several.
    """
    found = [action for action in actions if action.action_id.startswith(wanted)] if wanted else []
    if len(found) == 1:
        return found[0]
    if found:
        raise NoSuchActionError(f"{len(found)} actions begin with {wanted}: write more of the id")
    raise NoSuchActionError(f"there is no action {wanted}: `edgeloop actions` lists them")
