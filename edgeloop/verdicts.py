"""Which verdicts are there? Each with its key in the settings, its sign on pages and who answers for it by default.

What a report says of each is in `reports.verdicts`; a verdict more is an entry in both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

Verdict = Literal["promote", "keep testing", "roll back", "repair the data first", "stop, no effect", "not shown"]


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of decision; the roles are keys of `edgeloop.roles.ROLES`."""

    key: str
    """Of ``[decisions.KEY]``."""
    mark: str
    """The sign before its word, so that colour is not the only one."""
    accountable: str
    consulted: tuple[str, ...]
    informed: tuple[str, ...]


VERDICTS: Mapping[Verdict, Kind] = {
    "promote": Kind(
        key="promote",
        mark="▲",
        accountable="devops_lead",
        consulted=("data_science_lead", "product_manager"),
        informed=("crm_manager", "feedback_integrator"),
    ),
    "keep testing": Kind(
        key="keep_testing",
        mark="●",
        accountable="data_analyst",
        consulted=("product_manager",),
        informed=("feedback_integrator",),
    ),
    "roll back": Kind(
        key="roll_back",
        mark="▼",
        accountable="devops_lead",
        consulted=("edge_systems_engineer",),
        informed=("product_manager", "operations_lead", "feedback_integrator"),
    ),
    "repair the data first": Kind(
        key="repair_the_data_first",
        mark="■",
        accountable="data_engineer",
        consulted=("it_lead",),
        informed=("data_analyst", "feedback_integrator"),
    ),
    "stop, no effect": Kind(
        key="stop_no_effect",
        mark="◼",
        accountable="devops_lead",
        consulted=("data_science_lead",),
        informed=("product_manager",),
    ),
    "not shown": Kind(
        key="not_shown",
        mark="◆",
        accountable="data_analyst",
        consulted=("product_manager",),
        informed=("feedback_integrator",),
    ),
}
MARKS: Mapping[str, str] = {verdict: kind.mark for verdict, kind in VERDICTS.items()}
