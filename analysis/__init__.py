"""What each version change did, and how sure that is: statistics over a freeze, one file per question.

Other rooms use what is named here.
"""

from __future__ import annotations

from analysis import lift, moments
from analysis.change import LedgerChange, Stage
from analysis.counted import Counted
from analysis.customers import customers
from analysis.days import local_date
from analysis.estimates import Analysis, analyse
from analysis.frames import READ, coarse_stamps, lag, needed
from analysis.ledger import ledger
from analysis.metrics import Metric
from analysis.rows import ALL_METRICS
from analysis.words import WordsOfMonth, remarks

__all__ = [
    "ALL_METRICS", "READ", "Analysis", "Counted", "LedgerChange", "Metric", "Stage", "WordsOfMonth", "analyse",
    "coarse_stamps", "customers", "lag", "ledger", "lift", "local_date", "moments", "needed", "remarks",
]  # fmt: skip
