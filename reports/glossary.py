"""How was it done, and what do the words mean? Texts that are the same every month."""

from __future__ import annotations

from reports.findings import Line
from reports.language import t


def method() -> tuple[Line, ...]:
    """How the figures came about."""
    return (
        Line(
            t("Who is compared"),
            t(
                "Everybody counts in the version they first met while the change ran, whatever they met later; errors "
                "count. Only people whose whole time window is over are in the figures."
            ),
        ),
        Line(
            t("What is counted"),
            t(
                "What happens within the window that each metric names, from that first meeting on; nobody is dropped "
                "for doing nothing. What was known of people before takes noise out of the figures."
            ),
        ),
        Line(
            t("When it is clear"),
            t(
                "The month’s goals are judged together, so that of those called clear at most 5\N{NO-BREAK SPACE}% are "
                "expected to be false alarms (Benjamini–Hochberg). The range shown is the one that decides; until the "
                "planned number of customers is reached it is wider, so that looking every day does no harm."
            ),
        ),
        Line(
            t("Least amount of data"),
            t(
                "7 full days; 25 people with the event, 50 with a sum or 30 with an answer in each version, and 150 "
                "events or sums in both."
            ),
        ),
        Line(
            t("Who answered"),
            t(
                "Scores of a comparison are weighted to everybody who entered it, by what is known of those who did "
                "not answer; the plain scores stand beside."
            ),
        ),
        Line(
            t("Before and after"),
            t(
                "Where everybody was switched at once, the days after are set against what the days before led to "
                "expect. Season, weather and campaigns are in that difference too, so no verdict is given."
            ),
        ),
        Line(
            t("From month to month"),
            t(
                "Bars are rounded for themselves; what is not explained is what then remains, so that the printed "
                "figures sum."
            ),
        ),
    )


def glossary() -> tuple[Line, ...]:
    """What the words mean."""
    return (
        Line(
            t("Clear, not clear, too early"),
            t("the range leaves out no change; includes it; or there is too little data"),
        ),
        Line(t("Range"), t("the deciding interval: the differences that the data are compatible with")),
        Line(
            t("Percentage points"),
            t(
                "the difference of two shares: from 12\N{NO-BREAK SPACE}% to 15\N{NO-BREAK SPACE}% is 3 points, "
                "or a lift of 25\N{NO-BREAK SPACE}%",
            ),
        ),
        Line(t("Lift"), t("the difference relative to the old version")),
        Line(t("Goal, guardrail"), t("what changes are made for; what must not get worse by more than its limit")),
        Line(t("Canary"), t("a new version shown to some customers, beside the old one")),
        Line(t("p95"), t("95 of 100 are faster than this")),
        Line(
            t("Profile parity"),
            t("the share of customers whose profile is the same in the cloud and at the edge"),
        ),
        Line(t("Freeze"), t("the month’s data as it stood; the same freeze always gives this same page")),
    )
