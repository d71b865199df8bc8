"""How does it look? One HTML file without scripts, network or inline style; the same findings give the same bytes."""

from __future__ import annotations

import base64
import functools
import hashlib

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from edgeloop import __version__
from reports import charts, language
from reports.findings import Findings

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
        generator=__version__,
    )


def render_mail(**values: object) -> str:
    """The HTML of the month's mail."""
    return _environment().get_template("mail.html.j2").render(values)


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
        t=language.t,
        interval=charts.interval,
        line=charts.line,
        diverging=charts.diverging,
        verdict_marks=_VERDICT_MARKS,
        certainty_marks=_CERTAINTY_MARKS,
    )
    return environment
