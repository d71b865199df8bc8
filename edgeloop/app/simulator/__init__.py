"""Three months of an invented last-mile company, sent through the real doors on simulated time."""

from __future__ import annotations

from edgeloop.app.simulator.drive import TRUTH_FILE, Pause, SimulationReport, planted, simulate
from edgeloop.app.simulator.staff import ANSWERS, MET_US, STAFF
from edgeloop.app.simulator.truth import Truth

__all__ = ["ANSWERS", "MET_US", "STAFF", "TRUTH_FILE", "Pause", "SimulationReport", "Truth", "planted", "simulate"]
