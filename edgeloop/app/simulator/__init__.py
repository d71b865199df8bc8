"""Three months of an invented last-mile company, sent through the real doors on simulated time."""

from __future__ import annotations

from edgeloop.app.simulator.drive import TRUTH_FILE, SimulationReport, planted, simulate
from edgeloop.app.simulator.truth import Truth

__all__ = ["TRUTH_FILE", "SimulationReport", "Truth", "planted", "simulate"]
