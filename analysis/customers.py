"""Who is a customer? One definition for the estimates, the bridge, the strip and every other count on the page."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd


def customers(table: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Which rows of a table of events are of a customer: of a usable id, shape (rows,).

    An event without one has a pseudonym of its own (``anonymous`` is 1), and is not one more customer.

    Args:
        table: with ``subject`` and, where the table tells it, ``anonymous``.
    """
    known = table["subject"].notna().to_numpy(dtype=bool)
    if "anonymous" in table:
        known = known & ~flag(table["anonymous"])
    return known


def flag(column: pd.Series[int]) -> npt.NDArray[np.bool_]:
    """A column of 0, 1 or nothing as booleans."""
    return (column == 1).to_numpy(dtype=bool, na_value=False)
