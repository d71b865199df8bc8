"""What each version change did, and how sure that is: statistics over a freeze, one file per question.

Other rooms use what is named here.
"""

from __future__ import annotations

from analysis.estimates import Analysis, analyse
from analysis.ledger import LedgerChange, Stage, ledger
from analysis.rows import ALL_METRICS

__all__ = ["ALL_METRICS", "Analysis", "LedgerChange", "Stage", "analyse", "ledger"]
