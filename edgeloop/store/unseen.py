"""How many outcomes of a month name a delivery of which nothing was shown to them?"""

from __future__ import annotations

import msgspec

from edgeloop.months import Month
from edgeloop.store.base import Reader
from edgeloop.store.views import NAMED, NAMING, OUTCOMES, SEEN


class NamedDeliveries(msgspec.Struct, frozen=True):
    """Of the outcomes that name a delivery and came with a usable id."""

    outcomes: int
    unseen: int
    """Those that met nothing that was shown of it, nor the exposure itself that they name."""


def named_deliveries(reader: Reader, month: Month) -> NamedDeliveries:
    """The month's, by the company's zone: as the view ``unattributed`` counts them by days of UTC."""
    begin, end = reader.moment(month.start_us), reader.moment(month.end_us)
    ((outcomes, seen),) = reader.query(
        f"SELECT {OUTCOMES}, {OUTCOMES} FILTER (WHERE {SEEN}) FROM attributions JOIN {NAMING} ON {NAMED}"
        f" WHERE occurred_at >= {begin} AND occurred_at < {end}"
    )[1]
    return NamedDeliveries(int(outcomes), int(outcomes) - int(seen))
