"""What would the survey say had everybody answered? Weights, bounds and the tipping point of who did not."""

from __future__ import annotations

from analysis.survey.measure import Covariates, surveyed

__all__ = ["Covariates", "surveyed"]
