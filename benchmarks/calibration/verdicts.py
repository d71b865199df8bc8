"""Placeholder."""

from benchmarks.calibration.scenario import Scenario

SCENARIOS: list[Scenario] = []
