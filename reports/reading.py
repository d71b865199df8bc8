"""What does the report read of a freeze? Named columns, once for all its sections and the meeting's pack.

Text is read as categories, so that a month of five million exposures takes some hundred MB. Only ``answers``, of which
there are few, and actions come whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from analysis import customers
from edgeloop.store.freeze import Freeze
from reports.health import parity

READ = {
    "exposures": (
        "occurred_at", "received_at", "subject", "courier", "model_id", "model_version", "arm", "latency_ms", "error",
        "features", "energy_mj", "anonymous",
    ),
    "engagement": ("occurred_at", "received_at", "subject", "name", "source", "anonymous"),
    "responses": ("occurred_at", "received_at", "source"),
    "telemetry": ("occurred_at", "message_sent_at", "message_delivered_at"),
    "attributions": (
        "occurred_at", "subject", "respondent", "outcome_type", "outcome_name", "model_id", "model_version", "value",
        "credit",
    ),
}  # fmt: skip
_PROFILES = ("occurred_at", "profile_id", "subject", "side", "site", "profile_version")
_WHOLE = ("answers", "actions")


@dataclass(frozen=True, slots=True)
class Read:
    """What the sections share.

    ``frames`` are tables by name with the columns of `READ`, ``answers`` and, where there are any, ``actions`` whole.
    In exposures and engagement ``subject`` is there for customers only (`analysis.customers`), so that whoever counts
    counts no anonymous event as one.
    The ``outcome_id`` of ``attributions`` is a number that tells one outcome from another; ``answer_credits`` are those
    of its rows that are of answers, with the id itself.
    """

    frames: Mapping[str, pd.DataFrame]
    parity: Mapping[int, float | None]
    """Of profiles (`health.parity`) at the begin and the end of the month, by that moment."""


def read(freeze: Freeze) -> Read:
    """The freeze's tables.

    Raises:
        FreezeError: a file is not the one the manifest describes.
    """
    month = freeze.month
    profiles = freeze.frames({"profiles": _PROFILES})["profiles"]
    same = {us: parity(profiles, us) for us in (month.start_us, month.end_us)}
    del profiles
    frames = freeze.frames(READ) | {name: freeze.frame(name) for name in _WHOLE if name in freeze.manifest.tables}
    for name in ("exposures", "engagement"):
        told = frames[name]
        frames[name] = told.assign(subject=told["subject"].where(customers(told))).drop(columns="anonymous")
    numbers, ids = freeze.codes("attributions", "outcome_id")
    credited = frames["attributions"].assign(outcome_id=numbers)
    of_answers = credited[credited["outcome_type"] == "answer"]
    texts = [name for name in of_answers if isinstance(of_answers[name].dtype, pd.CategoricalDtype)]
    frames["answer_credits"] = of_answers.astype(dict.fromkeys(texts, object)).assign(
        outcome_id=ids.take(of_answers["outcome_id"].to_numpy())
    )
    few = ["occurred_at", "subject", "outcome_id", "model_id"]
    frames["attributions"] = credited[few]
    return Read(frames, same)
