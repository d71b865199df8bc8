"""What does the number beside a remark say of its sentiment?"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from edgeloop.clock import SECOND_US

Sentiment = Literal["negative", "neutral", "positive"]
CLASSES: tuple[Sentiment, ...] = ("negative", "neutral", "positive")
SITTING_US = 30 * 60 * SECOND_US
"""Some survey tools send each answer alone: answers of one person to one survey within it belong together."""
_SATISFACTION = ("csat", "rating", "ces")
_PRAISE, _MIDDLE = 0.75, 0.5  # of the scale: 4 of 5 praises, 3 of 5 does neither
_PROMOTER, _PASSIVE = 9, 7
_EXACT = 1e-9

Who = tuple[str, str]
"""(subject, response id): ids are the sender's, and two people's may be alike."""


class Asked(NamedTuple):
    """One response."""

    subject: str
    response_id: str
    survey_id: str
    at: int


def of_number(value: float, low: float, high: float) -> Sentiment | None:
    """The sentiment of an answer on a scale: three quarters up is praise, under the middle blame; None off it."""
    if not low < high or not low <= value <= high:
        return None
    return _of_share((value - low) / (high - low))


def of_nps(value: float) -> Sentiment | None:
    """The same of "how likely are you to recommend": promoters (9, 10) praise, detractors (0 to 6) blame."""
    if not 0 <= value <= 10:
        return None
    return "positive" if value >= _PROMOTER else "neutral" if value >= _PASSIVE else "negative"


def ratings(answers: pd.DataFrame, asked: Iterable[Asked]) -> dict[Who, Sentiment]:
    """Response → what the numbers given with it say.

    That is the mean place on their scales of its satisfaction questions (csat, rating, ces); without one, its nps. A
    response without any takes that of the same person and survey nearest in time (of equals the earlier), at most 30
    minutes away.

    Args:
        answers: the table ``answers``.
        asked: whose are wanted.
    """
    of = _by_response(answers)
    sittings: dict[tuple[str, str], list[tuple[int, Sentiment]]] = {}
    for response, sentiment in of.items():
        sittings.setdefault((response.subject, response.survey_id), []).append((response.at, sentiment))
    for times in sittings.values():
        times.sort()
    said = {(response.subject, response.response_id): sentiment for response, sentiment in of.items()}
    found = {}
    for one in asked:
        key = (one.subject, one.response_id)
        own = said.get(key) or _nearest(sittings.get((one.subject, one.survey_id), ()), one.at)
        if own is not None:
            found[key] = own
    return found


def _by_response(answers: pd.DataFrame) -> dict[Asked, Sentiment]:
    """Every response with a number on a scale."""
    kind = answers["kind"].astype(object)
    scaled = kind.isin([*_SATISFACTION, "nps"]) & answers["value"].notna() & answers["subject"].notna()
    who = answers.loc[scaled, ["subject", "response_id", "survey_id", "occurred_at", "kind"]]
    value, low, high = (_floats(answers.loc[scaled, name]) for name in ("value", "low", "high"))
    shares: dict[Asked, list[float]] = {}
    recommended: dict[Asked, float] = {}
    for i, (subject, response, survey, at, asked) in enumerate(who.itertuples(index=False)):
        key = Asked(str(subject), str(response), str(survey), int(at))
        if asked == "nps":
            recommended[key] = value[i]
        elif low[i] < high[i] and low[i] <= value[i] <= high[i]:  # False where an end is absent
            shares.setdefault(key, []).append((value[i] - low[i]) / (high[i] - low[i]))
    found = {key: of for key, value in recommended.items() if (of := of_nps(value)) is not None}
    return found | {key: _of_share(sum(own) / len(own)) for key, own in shares.items()}


def _floats(column: pd.Series[float]) -> list[float]:
    numbers: list[float] = pd.to_numeric(column).to_numpy(dtype=np.float64, na_value=np.nan).tolist()
    return numbers


def _nearest(times: Sequence[tuple[int, Sentiment]], at: int) -> Sentiment | None:
    i = bisect_left(times, at, key=lambda time: time[0])
    near = [(abs(time - at), time, sentiment) for time, sentiment in times[max(i - 1, 0) : i + 1]]
    gap, _, sentiment = min(near, default=(SITTING_US + 1, 0, None))
    return sentiment if gap <= SITTING_US else None


def _of_share(share: float) -> Sentiment:
    return "positive" if share >= _PRAISE - _EXACT else "neutral" if share >= _MIDDLE - _EXACT else "negative"
