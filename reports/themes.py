"""What are remarks about? Themes with their count, its change, how they are meant, and who answers for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from analysis import WordsOfMonth
from edgeloop.roles import Responsibility
from reports import foreign, numbers
from reports.findings import Quote, Theme
from reports.language import t, tn
from reports.owners import holder_text
from reports.voices import Side

MOST_THEMES = 8


def themes(
    spoken: WordsOfMonth | None,
    side: Side,
    table: Responsibility,
    tied: Mapping[tuple[str, str], Sequence[str]] = MappingProxyType({}),
) -> tuple[Theme, ...]:
    """Those of this month, the most frequent first.

    Args:
        table: who holds the roles that answer for them.
        tied: (side, theme) → titles of the changes that went live in about the week from which on it grew.
    """
    if spoken is None:
        return ()
    found = [theme for theme in spoken.side(side).themes if theme.this.n]
    return tuple(
        Theme(
            key=theme.name,
            name=title(theme.name, theme.title),
            n=numbers.count(theme.this.n),
            change=numbers.signed(theme.this.n - theme.before.n, 0),
            mood=_mood(theme.this.negative, theme.this.positive, theme.this.n),
            owner=holder_text(theme.owner, table),
            began=_began(tied.get((side, theme.name), ())),
            quotes=tuple(Quote(foreign.plain(q.text), "") for q in theme.quotes),
        )
        for theme in found[:MOST_THEMES]
    )


def _began(titles: Sequence[str]) -> str:
    if not titles:
        return ""
    named = numbers.joined([foreign.quoted(title) for title in titles])
    return t("Grew from about the week on in which {changes} went live; not a measured effect.", changes=named)


def note(spoken: WordsOfMonth | None, side: Side) -> str:
    """How many remarks there are, and how many of them the themes do not reach."""
    if spoken is None or not spoken.side(side).this.n:
        return ""
    own = spoken.side(side)
    n, rest = own.this.n, own.themeless + own.unread
    made = [tn("{n} remark this month.", "{n} remarks this month.", n, n=numbers.count(n))]
    if rest:
        told = {"n": numbers.count(rest), "unread": numbers.count(own.unread)}
        made.append(
            tn(
                "{n} has no theme, {unread} because its language is not read.",
                "{n} have no theme, {unread} because their language is not read.",
                rest,
                **told,
            )
        )
    hidden = sum(theme.this.n > 0 for theme in own.themes) - MOST_THEMES
    if hidden > 0:
        made.append(
            tn("{n} rarer theme is not shown.", "{n} rarer themes are not shown.", hidden, n=numbers.count(hidden))
        )
    if own.proposals:
        made.append(_proposed([", ".join(p.words) for p in own.proposals]))
    return " ".join(made)


def _proposed(groups: Sequence[str]) -> str:
    shown = "; ".join(foreign.name(group) for group in groups[:3])
    return t("Words that remarks without a theme share, perhaps a new theme: {words}.", words=shown)


def _mood(negative: int, positive: int, n: int) -> str:
    return t(
        "{unhappy} unhappy, {happy} happy",
        unhappy=numbers.percent(negative / n, 0),
        happy=numbers.percent(positive / n, 0),
    )


def title(name: str, otherwise: str) -> str:
    """What a theme is called; of one that is not in the codebook that comes with the product, as its own says."""
    return {
        "punctuality": t("On time or late"),
        "promise": t("The promised time"),
        "slots": t("Choosing and changing the slot"),
        "courier": t("How the courier behaved"),
        "condition": t("In what state it came"),
        "completeness": t("Everything there, and the right thing"),
        "handover": t("At the door"),
        "pickup": t("Lockers and pickup shops"),
        "tracking": t("Tracking and messages"),
        "app": t("App and handheld"),
        "price": t("Fees, refunds, pay"),
        "support": t("Customer service and dispatch"),
        "workload": t("Routes and workload of couriers"),
    }.get(name, otherwise)
