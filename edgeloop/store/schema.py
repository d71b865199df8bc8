"""The tables an analyst may rely on (docs/contract.md, Tables): names, columns, meaning. Additions only.

Kinds: ``text``, ``int``, ``real``, ``bool`` (0/1 in SQLite), ``time`` (integer µs since 1970 UTC in SQLite), ``json``
(text) and ``blob``. The order of columns is the order of the tuples that `row` and the batch step make.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, Literal, get_args, get_origin

import msgspec

from edgeloop.clock import to_us
from edgeloop.events import Event, Response
from edgeloop.store.actions import Action, Answer, Notice
from edgeloop.store.rows import Bar, Check, Estimate

SCHEMA_NUMBER = 5

Kind = Literal["text", "int", "real", "bool", "time", "json", "blob"]


class Column(msgspec.Struct, frozen=True):
    """One column."""

    name: str
    kind: Kind
    comment: str


class Table(msgspec.Struct, frozen=True):
    """One table."""

    name: str
    comment: str
    columns: tuple[Column, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)


def columns_of(text: str) -> tuple[Column, ...]:
    """Columns from lines of ``name kind comment``."""
    parts = (line.split(None, 2) for line in text.splitlines() if line)
    return tuple(Column(name, msgspec.convert(kind, Kind), comment) for name, kind, comment in parts)


_STAMPS = """
occurred_at time when it happened, the device's clock corrected
occurred_at_raw time when it happened by the sender's own clock
received_at time when the door took it in
revision int higher replaces lower
anonymous bool no usable id came with it: stored, never matched
extra json fields the contract does not know
body_sha256 blob of the canonical body: deliveries with the same one are the same words; empty where the row tells it
"""

EXPOSURES = Table(
    "exposures",
    "a gateway asked a model for a personalisation; one row each, in every arm",
    columns_of(
        """
exposure_id text id of the exposure
subject text the customer's pseudonym
touchpoint text where it was shown, e.g. app_card, locker, handheld
model_id text the model asked
model_version text its version
arm text stable, canary, holdout or another arm's name
rollout_id text the rollout that assigned the arm
latency_ms real inference time in milliseconds
error text what failed, if it failed
fallback bool 1 where a default was shown in place of the model's answer
features int number of features the model read
placement text edge or cloud
site text the gateway or hub
device text kind of device
zone text delivery zone
segment text the customer's segment when shown
delivery_id text the delivery it was about
courier text the delivery agent's pseudonym
profile_version text version of the customer profile used
energy_mj real energy of the inference in millijoules
"""
        + _STAMPS
    ),
)
RESPONSES = Table(
    "responses",
    "one person's answers to one survey",
    columns_of(
        """
response_id text id of the response, prefixed by its source
subject text pseudonym of who answered (an agent's for agents)
respondent text customer or agent
survey_id text the survey or form
source text typeform, zigpoll, …
delivery_id text the delivery it was about
exposure_id text the exposure it names itself
language text language of the form
partial bool 1 while the person has not finished
"""
        + _STAMPS
    ),
)
ANSWERS = Table(
    "answers",
    "one row per answered question",
    columns_of(
        """
response_id text the response it belongs to
subject text pseudonym of who answered
respondent text customer or agent
survey_id text the survey or form
source text typeform, zigpoll, …
occurred_at time when the response was sent
position int place within the response, from 0
question text the question's reference
kind text nps, csat, ces, rating, choice, boolean, number or text
value real the number answered (a boolean's 1 or 0)
low real lowest possible value
high real highest possible value
label text the choice taken
text text free text, scrubbed of personal data
"""
    ),
)
ENGAGEMENT = Table(
    "engagement",
    "something a customer did",
    columns_of(
        """
event_id text id of the event, prefixed by its source
subject text the customer's pseudonym
name text what was done, e.g. order_placed
source text mixpanel, amplitude, app, …
value real amount, if it has one
currency text ISO 4217 code of the amount
delivery_id text the delivery it was about
exposure_id text the exposure it names itself
"""
        + _STAMPS
    ),
)
PROFILES = Table(
    "profiles",
    "the profile version that the cloud or one edge site holds of a customer",
    columns_of(
        """
profile_id text id of the record
subject text the customer's pseudonym
side text cloud or edge
profile_version text the version held
site text the edge site
fields json profile fields, scrubbed
"""
        + _STAMPS
    ),
)
TELEMETRY = Table(
    "telemetry",
    "what an edge site tells of itself",
    columns_of(
        """
telemetry_id text id of the record
site text the gateway or hub
kind text route_update, message, profile_sync or device
message_id text the message it is about
message_sent_at time when the message was sent
message_delivered_at time when it reached the edge
battery real charge
cpu real load
free_mb real free memory in megabytes
energy_mj real energy in millijoules
"""
        + _STAMPS
    ),
)
_SINCE_5 = """
cluster text the field of exposures whose values are the clusters that units were drawn inside of
strata json the fields of exposures within whose values the draw was made
block_h real of zones by time: hours of a block, in which a zone has one version
starts time when the first of these blocks starts
"""
"""What came later stands last, as in a store that was brought forward."""
CHANGES = Table(
    "changes",
    "declared model changes and their stages",
    columns_of(
        """
change_id text id of the change (or of one stage of it)
model_id text the model changed
to_version text the version it goes to
kind text canary, staged, switch or rollback
from_version text the version it comes from
title text what a person calls it
rollout_id text the rollout whose arms are compared
ended_at time when the stage ended
allocation json version or holdout → weight
unit text subject, courier, zone or zone_time: what was assigned
assignment text random or chosen
planned_units int units planned for the whole test: all that enter a stage, in whatever arm
planned_stages int stages planned
zones json zones it is limited to
features json feature names of the new version
shares_capacity bool 1 where arms compete for the same slots or routes
owner text who answers for it
note text anything else
"""
        + _STAMPS
        + _SINCE_5
    ),
)
ATTRIBUTIONS = Table(
    "attributions",
    "every outcome with the exposures credited for it; an outcome without any keeps one row with credit 0",
    columns_of(
        """
outcome_id text e: + event_id, or a: + response_id + / + question
outcome_type text engagement or answer
outcome_name text engagement name, or survey_id + / + question
model_id text the model credited; empty where nothing matched
exposure_id text the exposure credited; empty where nothing matched
subject text the join key: pseudonym of the customer, or of the agent for agents' answers
respondent text customer or agent
occurred_at time when the outcome happened
value real full value of the outcome, on each model's row
currency text of the value
model_version text version shown
arm text arm of the exposure
rollout_id text rollout of the exposure
touchpoint text where it was shown
credit real share of the outcome, sums to 1 per outcome and model
credit_rule text the rule that split it
matched_by text explicit, delivery or window
lag_s real seconds from exposure to outcome
"""
    ),
)
SUPERSEDED = Table(
    "superseded",
    "bodies that lost against another of the same id",
    columns_of(
        """
event_type text exposure, response, …
key text its join key
event_id text its id
sha256 text of the canonical body
revision int its revision
occurred_at_raw time when it happened by the sender's own clock
"""
    ),
)
DEAD_LETTERS = Table(
    "dead_letters",
    "input that could not be taken; the bytes are sealed and opened only with the key",
    columns_of(
        """
dead_letter_id text id, from the content: the same bad input twice is one
reason text short reason
detail text what is wrong, without the input's own values
source text the door or partition it came from
place text line or index within that
received_at time when it came
sha256 text of the original bytes
size int of the original bytes
sealed blob the original bytes, AES-GCM
"""
    ),
)
OFFSETS = Table(
    "offsets",
    "how far the log is drained",
    columns_of(
        """
topic text the topic
partition int the partition
next_offset int the first record not yet drained
duplicates int records that were deliveries of something already known
cluster_id text the log it belongs to
topic_id text the topic's own identity
last_sha256 blob of the last record drained: a log that was set back and went on is noticed by it
"""
    ),
)


def _kind(annotation: Any) -> Kind:
    args = get_args(annotation) or (annotation,)
    if get_origin(annotation) is tuple:
        return "json"
    return "real" if float in args else "int" if int in args else "text"


def _of_struct(
    name: str, comment: str, struct: type[msgspec.Struct], comments: str, times: tuple[str, ...] = ()
) -> Table:
    """A table with a struct's fields as columns; ``comments`` has a line ``name comment`` for each."""
    told = dict(line.split(None, 1) for line in comments.splitlines() if line)
    kinds: dict[str, Kind] = {
        f.name: "time" if f.name in times else _kind(f.type) for f in msgspec.structs.fields(struct)
    }
    return Table(name, comment, tuple(Column(field, kind, told[field]) for field, kind in kinds.items()))


_OF_A_CHANGE = """
freeze_id the freeze it was computed from
month YYYY-MM in the company's zone
change_id the change
stage number of the stage, from 1
"""
ESTIMATES = _of_struct(
    "estimates",
    "what each version change did to each metric, per month freeze",
    Estimate,
    _OF_A_CHANGE
    + """
rollout_id the rollout whose arms are compared
model_id the model changed
from_version the version before
to_version the version after
control_arm arm compared with (before, for a switch)
treated_arm arm of the new version (after, for a switch)
metric as configured, or NAME (share), NAME:value (sum per person), SURVEY/QUESTION; * for a change without any
metric_kind proportion, mean, ratio, quantile, nps or none
unit what was assigned: subject, courier, zone or zone_time
respondent customer or agent
dimension touchpoint, zone, device, segment, customer (new or returning at the entry), or all
segment value of the dimension; all
estimator difference_in_means, cuped, ratio, quantile, weighted, staged, switchback, structural_time_series; +cap …
grade randomised, labelled, quasi or before_after
window_h length of the outcome window in hours
n_control units in the control figure
n_treated units in the treated figure
n_immature units of both arms whose window is not over
n_effective effective sample size, where weighted
response_control answered / entered with complete windows, control
response_treated the same, treated
control figure of the control arm
treated figure of the treated arm
effect treated - control
se standard error of the effect
effect_low lower end of its 95 % interval
effect_high upper end of its 95 % interval
lift treated / control - 1
lift_low lower end of its 95 % interval
lift_high upper end of its 95 % interval
p two-sided p of effect = 0
p_adjusted p after adjustment for many metrics
p_adjust the adjustment: benjamini-hochberg
decided_by always_valid, fixed, permutation or placebo: the test that decides; empty where a floor is missed
decision_low lower end of the deciding interval, absolute
decision_high upper end of the deciding interval, absolute
always_low lower end of the always-valid interval
always_high upper end of the always-valid interval
srm_p p of the sample ratio check
crossovers units that met two arms in the stage
days_left at least so many days until the plan is reached
expected_loss expected loss per unit of the wrong decision
verdict the change's: promote, keep testing, roll back, repair the data first, not shown, or stop, no effect
reason why, in words
role what the metric may decide: goal, guardrail or watch
source what the metric is made of: share, sum, answer or exposure
guard state of a guardrail: cleared, open, breach or no data
control_before figure of the control arm before the start, where the effect is a difference of differences
treated_before the same of the new version's arm
facts what the reason says, as JSON: one object per fact, its kind in ``fact``
""",
)
CHECKS = _of_struct(
    "checks",
    "the checks of the data behind each change",
    Check,
    _OF_A_CHANGE
    + """
check name of the check (docs/meaning.md, Checks that come first), with : and what it is about where there are several
value what it measured
p its p, where it is a test
state ok, warn, block or no data
""",
)

BRIDGE = _of_struct(
    "bridge",
    "why the headline metric moved from the month before: bars that sum to the change",
    Bar,
    """
freeze_id the freeze it was computed from
month YYYY-MM in the company's zone
metric the metric
bar month 0, calendar, mix, version, interaction, unexplained, month 1, volume, total or late data
change_id the change behind a version's bar
value what it adds, in the metric's own unit; of month 0 and month 1 the figure itself
low lower end of its 95 % interval
high upper end of its 95 % interval
""",
)

ACTIONS = _of_struct(
    "actions",
    "what a month's report asked of somebody, and what became of it",
    Action,
    """
action_id id, from month, change and verdict
month YYYY-MM of the report that asked
change_id the change it is about
model_id the model of the change
from_version the version before
to_version the version after
verdict what is asked: promote, keep testing, roll back, repair the data first, not shown, or stop, no effect
title the change's title
asked what is asked, in a sentence
why the reason the report gave
role the role that answers for it, by its key in the settings
owner who answers for it, by name; without one the role
occurred_at when it was asked: the moment up to which the report knows the world
due the date by which it is asked, YYYY-MM-DD in the company's zone
state proposed, accepted, done or dropped
accepted_at when it was accepted
closed_at when it was done or dropped
reason why it was dropped, or what was said when it was done
""",
    times=("occurred_at", "accepted_at", "closed_at"),
)
ACTION_HISTORY = _of_struct(
    "action_history",
    "every step of every action",
    Answer,
    """
action_id the action
occurred_at when the step was taken
state the state it led to
who the name of the key that signed in, of who ran the command, or report
reason what was said with it
""",
    times=("occurred_at",),
)
NOTICES = _of_struct(
    "notices",
    "messages sent about actions, one row for each cause; no address is kept",
    Notice,
    """
action_id the action
cause asked, unanswered or overdue
rung who was told: owner, deputy or a role
channel mail or slack
state sending, sent or waiting (refused; tried again later)
attempts how often it was tried
repeats 1 where it was sent again, because the sender died before it noted what became of it
occurred_at when it was last tried, or sent
""",
    times=("occurred_at",),
)

EVENT_TABLES: dict[str, Table] = {
    "exposure": EXPOSURES,
    "response": RESPONSES,
    "engagement": ENGAGEMENT,
    "profile": PROFILES,
    "telemetry": TELEMETRY,
    "change": CHANGES,
}
TABLES: tuple[Table, ...] = (
    EXPOSURES,
    RESPONSES,
    ANSWERS,
    ENGAGEMENT,
    PROFILES,
    TELEMETRY,
    CHANGES,
    ATTRIBUTIONS,
    SUPERSEDED,
    DEAD_LETTERS,
    OFFSETS,
    ESTIMATES,
    CHECKS,
    BRIDGE,
    ACTIONS,
    ACTION_HISTORY,
    NOTICES,
)

Cell = str | int | float | bytes | None
Row = tuple[Cell, ...]

_json = msgspec.json.Encoder(order="sorted")


class _Plan(msgspec.Struct, frozen=True):
    """How the rows of one event type are made: ``INSERT_COLUMNS`` is ``plain``, the four stamps, times, then JSON."""

    plain: tuple[str, ...]
    times: tuple[str, ...]
    documents: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        return (*self.plain, *_STAMPED, *self.times, *self.documents)


_STAMPED = ("occurred_at", "occurred_at_raw", "received_at", "body_sha256")


def _plan(table: Table) -> _Plan:
    free = [c for c in table.columns if c.name not in _STAMPED]
    return _Plan(
        plain=tuple(c.name for c in free if c.kind not in ("time", "json")),
        times=tuple(c.name for c in free if c.kind == "time"),
        documents=tuple(c.name for c in free if c.kind == "json"),
    )


_PLANS = {name: _plan(table) for name, table in EVENT_TABLES.items()}
_ONLY_EXTRA = frozenset(name for name, plan in _PLANS.items() if not plan.times and plan.documents == ("extra",))
_PLAIN: dict[str, Callable[[Any], Row]] = {name: attrgetter(*plan.plain) for name, plan in _PLANS.items()}
INSERT_COLUMNS: dict[str, tuple[str, ...]] = (
    {table.name: _PLANS[name].columns for name, table in EVENT_TABLES.items()}
    | {table.name: table.names for table in TABLES if table not in EVENT_TABLES.values()}
    | {"state_pages": ("entries",)}
)
"""table → the columns in the order of the rows that writers make (SQL takes any order, by name)."""


_NO_EXTRA: Row = (None,)


def row(kind: str, event: Event, stamps: tuple[int, int, int | None, bytes | None]) -> Row:
    """The event's row in its table, without rowid, in the order of ``INSERT_COLUMNS``.

    ``stamps`` are those of `stamped`, without the hash where the row tells it (edgeloop/store/bodies.py).
    """
    if kind in _ONLY_EXTRA:
        extra = event.extra
        # Sums of tuples: a third of the time of a display with stars.
        return _PLAIN[kind](event) + stamps + ((_json.encode(extra).decode(),) if extra else _NO_EXTRA)
    plan = _PLANS[kind]
    cells = _PLAIN[kind](event) + stamps
    for name in plan.times:
        moment = getattr(event, name)
        cells += (None if moment is None else to_us(moment),)
    for name in plan.documents:
        content = getattr(event, name)
        cells += (_json.encode(content).decode() if content else None,)
    return cells


def answer_rows(response: Response, at_us: int) -> list[Row]:
    """The rows of a response's answers, without rowid, in column order."""
    return [
        (
            response.response_id, response.subject, response.respondent, response.survey_id, response.source, at_us,
            position, a.question, a.kind, a.value, a.low, a.high, a.label, a.text,
        )
        for position, a in enumerate(response.answers)
    ]  # fmt: skip
