"""What each version change did, and how sure that is: statistics over a freeze, one file per question.

Other rooms use what is named here.
"""

from __future__ import annotations

from analysis import lift, moments
from analysis.change import LedgerChange, Stage
from analysis.estimates import Analysis, analyse
from analysis.frames import READ, needed
from analysis.ledger import ledger
from analysis.rows import ALL_METRICS

__all__ = ["ALL_METRICS", "READ", "Analysis", "LedgerChange", "Stage", "analyse", "ledger", "lift", "moments", "needed"]
