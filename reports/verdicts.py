"""What does a report make of each verdict? One table, the most urgent first: words, minutes of a meeting, its end.

Which verdicts there are, their signs and who answers for them is in `edgeloop.verdicts`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edgeloop.verdicts import Verdict
from reports.language import t
from reports.settled import What

WORKING_DAYS = 5


@dataclass(frozen=True, slots=True)
class Told:
    """One verdict; texts are made when they are asked for, in the language spoken then."""

    name: Callable[[], str]
    """In small letters."""
    asked: Callable[[str], str]
    """What is asked for one or several changes, in a title."""
    action: Callable[[str], str]
    """What is asked, in the imperative, of a change by its name."""
    minutes: int
    """Of a meeting."""
    settled_by: tuple[What, ...]
    """What leaves nothing to ask."""
    done_by: tuple[What, ...]
    """What does as was asked; anything else that settles the version does not."""
    working_days: int = WORKING_DAYS
    """Until it is due."""


TOLD: Mapping[Verdict, Told] = {
    "roll back": Told(
        lambda: t("roll back"),
        lambda what: t("roll back {what}", what=what),
        lambda name: t("Roll back “{name}”", name=name),
        minutes=6,
        settled_by=("rolled back",),
        done_by=("rolled back", "ended"),
        working_days=1,
    ),
    "repair the data first": Told(
        lambda: t("repair the data first"),
        lambda what: t("repair the data of {what}", what=what),
        lambda name: t("Repair the data of “{name}” first", name=name),
        minutes=5,
        settled_by=(),
        done_by=(),
    ),
    "promote": Told(
        lambda: t("promote"),
        lambda what: t("promote {what}", what=what),
        lambda name: t("Promote “{name}” to everybody", name=name),
        minutes=5,
        settled_by=("promoted",),
        done_by=("promoted",),
    ),
    "stop, no effect": Told(
        lambda: t("stop, no effect"),
        lambda what: t("stop {what}", what=what),
        lambda name: t("Stop “{name}”: no effect", name=name),
        minutes=3,
        settled_by=("rolled back",),
        done_by=("rolled back", "ended"),
    ),
    "not shown": Told(
        lambda: t("not shown"),
        lambda what: t("go on with {what}, or stop", what=what),
        lambda name: t("Go on with “{name}”, or stop it", name=name),
        minutes=3,
        settled_by=("promoted", "rolled back"),
        done_by=("rolled back", "ended"),
    ),
    "keep testing": Told(
        lambda: t("keep testing"),
        lambda what: t("keep testing {what}", what=what),
        lambda name: t("Keep testing “{name}”", name=name),
        minutes=2,
        settled_by=("promoted", "rolled back"),
        done_by=(),
    ),
}
ORDER: tuple[Verdict, ...] = tuple(TOLD)
