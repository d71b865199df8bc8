"""The estimators beyond a difference of two means, one file per design or question; pure functions on arrays."""

from __future__ import annotations

from analysis.estimators import always_valid, cuped, inside, skewed

__all__ = ["always_valid", "cuped", "inside", "skewed"]
