"""How does it look? One HTML file without scripts, network or inline style; the same findings give the same bytes."""

from __future__ import annotations

import base64
import functools
import hashlib

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from reports import charts, numbers
from reports.findings import Findings, Workshop
from reports.language import spoken, t

_VERDICT_MARKS = {
    "promote": "▲",
    "roll back": "▼",
    "repair the data first": "■",
    "keep testing": "●",
    "stop, no effect": "◼",
}
_CERTAINTY_MARKS = {"clear": "●", "not clear": "◐", "too early": "○", "data in doubt": "■"}


def render(findings: Findings) -> str:
    """The page."""
    environment = _environment()
    css = environment.get_template("page.css").render()
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    return environment.get_template("page.html.j2").render(
        f=findings,
        css=Markup(css),  # noqa: S704 -- our own file; it holds nothing of the month
        csp=f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'",
        limits=charts.limits(findings.changes),
    )


def render_workshop(pack: Workshop) -> str:
    """The pack for the meeting: the page's own look, and what a checklist needs beside it."""
    environment = _environment()
    css = "".join(environment.get_template(name).render() for name in ("page.css", "workshop.css"))
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    return environment.get_template("workshop.html.j2").render(
        w=pack,
        css=Markup(css),  # noqa: S704 -- our own files; they hold nothing of the month
        csp=f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'",
    )


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
    )
    environment.globals.update(
        interval=charts.interval,
        line=charts.line,
        diverging=charts.diverging,
        verdict_marks=_VERDICT_MARKS,
        certainty_marks=_CERTAINTY_MARKS,
        count=numbers.count,
        language=spoken,
        t=t,
    )
    return environment
