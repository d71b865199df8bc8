"""How the door's own pages are made of `templates/`: every value escaped, and one that is missing is an error."""

from __future__ import annotations

import functools

from jinja2 import Environment, PackageLoader, StrictUndefined

from edgeloop.clock import SECOND_US, iso
from edgeloop.verdicts import MARKS

_MINUTE_US = 60 * SECOND_US


@functools.cache
def page_templates() -> Environment:
    """The templates of ``/actions`` and ``/reports``; ``moment`` shows a time in µs to the minute, in UTC."""
    environment = Environment(
        loader=PackageLoader("edgeloop.app", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["moment"] = _moment
    environment.globals["marks"] = MARKS
    return environment


def _moment(us: int) -> str:
    return iso(us // _MINUTE_US * _MINUTE_US)[:16].replace("T", " ") + " UTC"
