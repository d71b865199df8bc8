"""Who answers for a decision? The change's own owner, else the holder of the role that is accountable for its kind."""

from __future__ import annotations

import msgspec

from edgeloop.roles import Responsibility
from edgeloop.store.rows import Verdict
from reports import foreign, words
from reports.language import t


class Owner(msgspec.Struct, frozen=True):
    """``name`` as the report shows it, ``line`` what is said below it, ``role`` whom reminders go to."""

    role: str
    name: str
    line: str


def owner_of(verdict: Verdict, named: str | None, table: Responsibility) -> Owner:
    """The owner of a decision.

    Args:
        verdict: the kind of decision.
        named: the change's own ``owner``: a person, or a role by its key or title.
        table: who holds which role.
    """
    accountable = table.duty(verdict).accountable
    role = table.role_of(named) if named else accountable
    if named and role is None:
        return Owner(accountable, foreign.name(named), t("owner of the change"))
    role = role or accountable
    held = table.holder(role)
    if held is None:
        return Owner(role, words.capital(role_title(role)), t("nobody is named for this role yet"))
    holder = foreign.name(held.name)
    if held.deputy:
        line = t("{role}; deputy: {deputy}", role=role_title(role), deputy=foreign.name(held.deputy))
        return Owner(role, holder, line)
    return Owner(role, holder, role_title(role))


def holder_text(named: str, table: Responsibility) -> str:
    """Who holds a role that is named by its key or title, and the role; what is no role stays as it is named."""
    role = table.role_of(named)
    if role is None:
        return foreign.name(named)
    held = table.holder(role)
    if held is None:
        return words.capital(role_title(role))
    return t("{name}, {role}", name=foreign.name(held.name), role=role_title(role))


def role_title(role: str) -> str:
    """What people call a role."""
    return {
        "data_engineer": t("data engineer"),
        "crm_manager": t("CRM manager"),
        "it_lead": t("IT lead"),
        "operations_lead": t("operations lead"),
        "data_science_lead": t("data science lead"),
        "edge_systems_engineer": t("edge systems engineer"),
        "product_manager": t("product manager"),
        "devops_lead": t("DevOps lead"),
        "feedback_collector": t("feedback collector"),
        "data_analyst": t("data analyst"),
        "feedback_integrator": t("feedback integrator"),
    }[role]
