"""Why is the month another than the one before? Calendar, mix, version changes, and what nobody can explain."""

from __future__ import annotations

from analysis.bridge.bars import Delta, Interplay, Printed, month_bridge
from analysis.bridge.decompose import Bridge, MonthCells, decompose

__all__ = ["Bridge", "Delta", "Interplay", "MonthCells", "Printed", "decompose", "month_bridge"]
