"""The month by mail: the verdict and the decisions asked, as text and as HTML; the whole report goes with it as a file.

The HTML stands without our style sheet, for many mail programs drop it; it sets no colours of its own, so that light
and dark are the program's.
"""

from __future__ import annotations

import msgspec

from reports import punctuation
from reports.findings import Decision
from reports.language import speaking, t, tn
from reports.numbers import count
from reports.record import Record
from reports.render import render_mail
from reports.words import capital, verdict

MOST_DECISIONS = 20
_RULE = 60


class Letter(msgspec.Struct, frozen=True):
    """What a mail says, twice."""

    subject: str
    text: str
    html: str


class _Asked(msgspec.Struct, frozen=True):
    """One decision: its heading and its labelled lines."""

    verdict: str
    heading: str
    lines: tuple[tuple[str, str], ...]


def letter(record: Record) -> Letter:
    """The mail of a month, in the language of its report."""
    with speaking(record.language):
        return _letter(record)


def _letter(record: Record) -> Letter:
    f = record.findings
    subject = t("{company}, {month}: {title}", company=f.company, month=f.month, title=f.title)
    if record.provisional:
        subject = t("Provisional: {subject}", subject=subject)
    if record.simulated:
        subject = t("Simulated data: {subject}", subject=subject)
    asked = [_asked(d) for d in f.decisions[:MOST_DECISIONS]]
    more = len(f.decisions) - len(asked)
    rest = tn(
        "One more decision is in the report.", "{count} more decisions are in the report.", more, count=count(more)
    )
    notes = [
        *([rest] if more > 0 else []),
        t("The whole report is attached: open it in a browser."),
        t("Freeze {freeze}, data as of {moment}.", freeze=f.freeze_id, moment=f.as_of),
    ]
    heading = t("Decisions asked") if asked else t("No decision is asked this month.")
    html = render_mail(
        subject=subject,
        f=f,
        language=record.language,
        simulated=record.simulated,
        heading=heading,
        asked=asked,
        notes=notes,
    )
    return Letter(subject, _text(record, heading, asked, notes), html)


def _asked(d: Decision) -> _Asked:
    return _Asked(
        d.verdict,
        d.action,
        (
            (t("Verdict"), capital(verdict(d.verdict))),
            (t("Why"), d.why),
            (t("Owner"), f"{d.owner} ({d.role})"),
            (t("By when"), d.by),
            (t("How sure"), d.sure),
            (t("What waiting costs"), d.waiting),
        ),
    )


def _text(record: Record, heading: str, asked: list[_Asked], notes: list[str]) -> str:
    f = record.findings
    flag = [t("simulated data")] if record.simulated else []
    lines = [" · ".join([f.company, t("Monthly adjustment report"), f.month, *flag]), "", f.title]
    lines += ["=" * min(len(f.title), _RULE), f.standing, "", heading, ""]
    colon = punctuation.colon()
    for number, one in enumerate(asked, start=1):
        lines += [f"{number}. {one.heading}", *(f"   {label}{colon}{text}" for label, text in one.lines), ""]
    return "\n".join([*lines, *notes]) + "\n"
