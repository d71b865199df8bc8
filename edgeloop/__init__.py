"""Edgeloop ties survey answers and engagement to the model versions that could have caused them.

For notebooks: ``edgeloop.open()`` gives a home's tables as pandas frames, ``edgeloop.compare(…)`` an effect of a frame,
``edgeloop.compare_moments(…)`` one of counts and sums from elsewhere.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__"]  # not `open`: a star import must not hide Python's own

_LAZY = {
    "open": ("edgeloop.app.notebook", "open_home"),
    "compare": ("edgeloop.app.compare", "compare"),
    "compare_moments": ("edgeloop.app.compare_moments", "compare_moments"),
}


def __getattr__(name: str) -> Any:
    # By name and late: the front door imports every room, and no room may load it by importing edgeloop.
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    problem = import_module("edgeloop.__main__").hidden_room()
    if problem is not None:
        raise ImportError(problem)
    module, attribute = _LAZY[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
