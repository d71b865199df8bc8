"""Who answers for what: the field's roles, who holds them, and which of them decides what (a small RACI table).

Names appear in reports; addresses are personal data, used to send and shown to nobody.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from edgeloop.verdicts import VERDICTS

ROLES: dict[str, str] = {
    "data_engineer": "data engineer",
    "crm_manager": "CRM manager",
    "it_lead": "IT lead",
    "operations_lead": "operations lead",
    "data_science_lead": "data science lead",
    "edge_systems_engineer": "edge systems engineer",
    "product_manager": "product manager",
    "devops_lead": "DevOps lead",
    "feedback_collector": "feedback collector",
    "data_analyst": "data analyst",
    "feedback_integrator": "feedback integrator",
}
"""Key in the settings → what people call it."""

KINDS: dict[str, str] = {kind.key: verdict for verdict, kind in VERDICTS.items()}
"""Key in the settings → the verdict it is about."""

OWNER, DEPUTY = "owner", "deputy"
"""Rungs of the ladder that are no roles: whoever answers for the action."""


class RoleSettings(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """``[roles.NAME]``: who holds a role."""

    name: str = ""
    address: str = ""
    """Of mail."""
    deputy: str = ""
    deputy_address: str = ""


class DutySettings(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """``[decisions.KIND]``: roles by the letters of RACI; empty: as the table of defaults has it."""

    accountable: str = ""
    """One role, whose holder owns the action, is asked and reminded."""
    responsible: str = ""
    """One role that does the work, where that is another."""
    consulted: tuple[str, ...] = ()
    informed: tuple[str, ...] = ()


DUTIES: dict[str, DutySettings] = {
    verdict: DutySettings(accountable=kind.accountable, consulted=kind.consulted, informed=kind.informed)
    for verdict, kind in VERDICTS.items()
}
"""Verdict → who answers for it where the settings say nothing."""


class Holder(msgspec.Struct, frozen=True):
    """Who holds a role, and who stands in; no address."""

    name: str
    deputy: str = ""


class Responsibility(msgspec.Struct, kw_only=True, frozen=True):
    """The responsibility table of a moment, as a freeze keeps it: names only."""

    holders: dict[str, Holder] = {}
    """Role → who holds it; roles that nobody holds are absent."""
    duties: dict[str, DutySettings] = {}
    """Verdict → its RACI letters."""

    def duty(self, verdict: str) -> DutySettings:
        """The letters of one kind of decision; of freezes without a table the defaults."""
        return self.duties.get(verdict) or DUTIES[verdict]

    def holder(self, role: str) -> Holder | None:
        """Who holds a role, or None."""
        return self.holders.get(role)

    def role_of(self, text: str) -> str | None:
        """The role that a change's own ``owner`` means: by its key, its title, or its holder's name."""
        wanted = text.strip().casefold()
        for role, title in ROLES.items():
            if wanted in (role, title.casefold(), title.casefold().replace(" ", "-")):
                return role
        return next((role for role, held in self.holders.items() if held.name.casefold() == wanted), None)


def responsibility(roles: Mapping[str, RoleSettings], decisions: Mapping[str, DutySettings]) -> Responsibility:
    """The table in force: the settings over the defaults.

    Raises:
        ValueError: a role, a kind of decision or a letter's role that does not exist.
    """
    for role in roles:
        _known(role, f"[roles.{role}]")
        if roles[role].deputy_address and not roles[role].deputy:
            raise ValueError(f"[roles.{role}] has a deputy_address and no deputy: name who that is")
    duties = dict(DUTIES)
    for kind, own in decisions.items():
        if kind not in KINDS:
            raise ValueError(f"[decisions.{kind}] is no kind of decision; there are {', '.join(KINDS)}")
        for role in (own.accountable, own.responsible, *own.consulted, *own.informed):
            if role:
                _known(role, f"[decisions.{kind}]")
        default = duties[KINDS[kind]]
        duties[KINDS[kind]] = DutySettings(
            accountable=own.accountable or default.accountable,
            responsible=own.responsible or default.responsible,
            consulted=own.consulted or default.consulted,
            informed=own.informed or default.informed,
        )
    holders = {role: Holder(held.name, held.deputy) for role in ROLES if (held := roles.get(role)) and held.name}
    return Responsibility(holders=holders, duties=duties)


def check_ladder(ladder: Mapping[str, int]) -> None:
    """Raise unless every rung is the owner, the deputy or a role, after a day or more.

    Raises:
        ValueError: with the rung.
    """
    for who, days in ladder.items():
        if who not in (OWNER, DEPUTY):
            _known(who, "[escalation] ladder")
        if days < 1:
            raise ValueError(f"[escalation] ladder: {who} = {days}; a rung comes after one day or more")


def _known(role: str, where: str) -> None:
    if role not in ROLES:
        raise ValueError(f"{where}: {role!r} is no role; there are {', '.join(ROLES)}")
