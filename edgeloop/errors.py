"""Errors a person is meant to read: what is wrong, where, and what to do next."""

from __future__ import annotations


class EdgeloopError(Exception):
    """Something failed that a person can mend; printed without a traceback. ``exit_code`` 1 unless wrong use (2)."""

    exit_code = 1


class UsageError(EdgeloopError):
    """The command was called wrongly, or a setting is wrong."""

    exit_code = 2


class HomeError(EdgeloopError):
    """The home directory lacks or holds something that it should not."""
