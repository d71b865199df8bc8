"""Edgeloop ties survey answers and engagement to the model versions that could have caused them."""

from __future__ import annotations

__version__ = "0.1.0"
__all__ = ["__version__"]
