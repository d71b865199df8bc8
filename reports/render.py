"""How does it look? One HTML file without scripts, network or inline style; the same findings give the same bytes."""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Mapping, Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from edgeloop import __version__
from edgeloop.verdicts import MARKS
from reports import brand, charts, decisions, followup, health, language, numbers, punctuation, words
from reports.findings import Brand, CheckState, Findings, State, Workshop
from reports.language import t, tn
from reports.parts import part

_CERTAINTY_MARKS = {"clear": "●", "not clear": "◐", "too early": "○", "data in doubt": "■"}


def render(findings: Findings) -> str:
    """The page, in the language of the findings."""
    with language.speaking(findings.language):
        return _render(findings)


def _render(findings: Findings) -> str:
    environment = _environment()
    css, csp = _style(("page.css",), findings.brand)
    told = {
        "f": findings,
        "limits": charts.limits(findings.changes),
        "targets": {
            "p95": health.milliseconds(health.P95_TARGET_MS),
            "errors": numbers.percent(health.ERROR_TARGET, 0),
        },
    }
    told["charts"] = environment.get_template("charts.j2").make_module(told)
    return environment.get_template("page.html.j2").render(
        css=Markup(css),  # noqa: S704 -- our own file; of the month it holds a colour of known form
        csp=csp,
        generator=__version__,
        sections=[_section(name, title, told, findings.failed(title)) for name, title in _sections()],
        **told,
    )


def _sections() -> tuple[tuple[str, str], ...]:
    """In the order of the page: the template of each, and its title."""
    return (
        ("summary", t("In three lines")),
        ("decisions", t("Decisions asked")),
        ("actions", t("Last month’s actions")),
        ("effects", t("Did it help?")),
        ("bridge", t("From last month to this month")),
        ("voices", t("What people said")),
        ("feedback", t("Is the feedback used?")),
        ("health", t("Edge health")),
        ("trust", t("Can you trust this?")),
        ("method", t("Method and glossary")),
    )


def _section(name: str, title: str, told: Mapping[str, object], failed: str) -> Markup:
    """A section as HTML, or its title and that it could not be made."""

    def instead(why: str) -> str:
        return _environment().get_template("failed.html.j2").render(name=name, title=title, why=why)

    if failed:
        return Markup(instead(failed))  # noqa: S704 -- escaped by its template
    template = f"sections/{name}.html.j2"
    html = part(title, lambda: _environment().get_template(template).render(told), instead, key=f"the section {name}")
    return Markup(html)  # noqa: S704 -- escaped by its template


def render_workshop(pack: Workshop) -> str:
    """The pack for the meeting, in its language: the page's own look, and what a checklist needs beside it."""
    with language.speaking(pack.language):
        css, csp = _style(("page.css", "workshop.css"), pack.brand)
        return (
            _environment()
            .get_template("workshop.html.j2")
            .render(
                w=pack,
                css=Markup(css),  # noqa: S704 -- our own files; of the month they hold a colour of known form
                csp=csp,
            )
        )


def render_mail(**values: object) -> str:
    """The HTML of the month's mail."""
    return _environment().get_template("mail.html.j2").render(values)


def _style(names: Sequence[str], own: Brand) -> tuple[str, str]:
    """The sheets in one, and the policy that lets nothing but them in."""
    colours = {
        "brand_light": brand.legible(own.colour, brand.PAPER_LIGHT) if own.colour else "",
        "brand_dark": brand.legible(own.colour, brand.PAPER_DARK) if own.colour else "",
    }
    signs = {"colon": punctuation.colon(), "marks": punctuation.quotation_marks()}
    css = "".join(_environment().get_template(name).render(**colours, **signs) for name in names)
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    images = " img-src data:;" if own.logo else ""
    return css, f"default-src 'none'; style-src 'sha256-{digest}';{images} base-uri 'none'; form-action 'none'"


def state_text(state: State) -> str:
    """Whether a target is met."""
    return {
        "met": t("✓ met"),
        "partly": t("! met overall"),
        "missed": t("✗ missed"),
        "level": t("≈ no clear move"),
        "no target": t("– no target"),
        "unknown": t("? unknown"),
    }[state]


def check_text(state: CheckState) -> str:
    """What a check says."""
    return {"ok": t("✓ passed"), "warn": t("! look"), "block": t("✗ stops"), "no data": t("? no data")}[state]


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
    environment.filters["capital"] = words.capital
    environment.globals.update(
        t=t,
        tn=tn,
        text_direction=language.text_direction,
        colon=punctuation.colon,
        semicolon=punctuation.semicolon,
        count=numbers.count,
        interval=charts.interval,
        line=charts.line,
        diverging=charts.diverging,
        split_limit=charts.split_limit,
        waterfall=charts.waterfall,
        action_text=decisions.action_text,
        verdict_text=words.verdict,
        sure_text=words.sure,
        side_text=words.side,
        state_text=state_text,
        check_text=check_text,
        follow_text=followup.state_text,
        verdict_marks=MARKS,
        certainty_marks=_CERTAINTY_MARKS,
        language=language.spoken,
    )
    return environment
