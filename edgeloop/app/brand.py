"""Whose report is it? The company's logo, read once for a freeze and put into the page."""

from __future__ import annotations

import base64

from edgeloop.errors import UsageError
from edgeloop.home import Home
from edgeloop.settings import Settings, settings_file

MOST_BYTES = 50_000
_PNG = b"\x89PNG\r\n\x1a\n"


def logo_uri(home: Home, settings: Settings) -> str:
    """The file of ``[report] logo`` as a ``data:`` URI; empty where none is set.

    An SVG in an ``img`` runs no script and loads nothing, so it need not be cleaned.

    Raises:
        UsageError: it cannot be read, is too large, or is neither PNG nor SVG.
    """
    if not settings.report.logo:
        return ""
    told = settings_file(home.path)
    path = (told.parent if told else home.path) / settings.report.logo
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"[report] logo: {path} cannot be read: {error.strerror}") from error
    if len(data) > MOST_BYTES:
        raise UsageError(f"[report] logo: {path} has {len(data):,} bytes; at most {MOST_BYTES:,} go into a report")
    if data.startswith(_PNG):
        kind = "image/png"
    elif _is_svg(data):
        kind = "image/svg+xml"
    else:
        raise UsageError(f"[report] logo: {path} is neither a PNG nor an SVG file")
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _is_svg(data: bytes) -> bool:
    """Whether it is text whose first element is an ``svg``."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return False
    start = text.find("<svg")
    return start >= 0 and all(part.startswith(("?", "!")) for part in text[:start].split("<")[1:])
