"""How was it done, and what do the words mean? Texts that are the same every month."""

from __future__ import annotations

from reports.findings import Line

METHOD = (
    Line(
        "Who is compared",
        "Everybody counts in the version they first met while the change ran, whatever they met later; errors count. "
        "Only people whose whole time window is over are in the figures.",
    ),
    Line(
        "What is counted",
        "Events within 72 hours of that first meeting, answers within 14 days; nobody is dropped for doing nothing.",
    ),
    Line(
        "When it is clear",
        "All metrics of a change share a 5 % chance of a false alarm, split evenly over those with a range "
        "(Bonferroni). The range shown is that one; it is wider than a usual 95 % interval.",
    ),
    Line(
        "Least amount of data",
        "7 full days; 25 people with the event, 50 with a sum or 30 with an answer in each arm, and 150 events or "
        "sums in both.",
    ),
    Line(
        "Before and after",
        "Where everybody was switched at once, the same number of days before and after are set side by side. Season, "
        "weather and campaigns are in that difference too, so no verdict is given.",
    ),
)
GLOSSARY = (
    Line("Clear, not clear, too early", "the range leaves out no change; includes it; or there is too little data"),
    Line("Range", "the deciding interval: the differences that the data are compatible with"),
    Line("Percentage points", "the difference of two shares: from 12 % to 15 % is 3 points, or a lift of 25 %"),
    Line("Lift", "the difference relative to the old version"),
    Line("Canary", "a new version shown to some customers, beside the old one"),
    Line("p95", "95 of 100 are faster than this"),
    Line("Profile parity", "the share of customers whose profile is the same in the cloud and at the edge"),
    Line("Freeze", "the month’s data as it stood; the same freeze always gives this same page"),
)
