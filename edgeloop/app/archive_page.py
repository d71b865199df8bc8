"""``/reports``: the archive of the months, and their files as they lie in the home. No script, nothing from elsewhere.

Who may read is one function, `Authorise`: it gives None, or the answer instead. Only names of a month's files are ever
looked for, so no path leads out of the folder.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import Callable
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from edgeloop.app import api_keys
from edgeloop.app.archive import MEDIA, ending_of, listed, timeline
from edgeloop.app.page_templates import page_templates
from edgeloop.app.report_files import JSON, PAGE
from edgeloop.app.sessions import Brake
from edgeloop.clock import SECOND_US, Clock
from edgeloop.home import Home
from edgeloop.settings import Settings

PATH = "/reports"
Authorise = Callable[[Request], Response | None]
_STYLE = re.compile(rb"<style>(.*?)</style>", re.DOTALL)


class ArchivePage:
    """The routes of ``/reports``."""

    def __init__(self, home: Home, settings: Settings, authorise: Authorise) -> None:
        self._home = home
        self._company = settings.company
        self._authorise = authorise

    def routes(self) -> list[Route]:
        """What it answers to."""
        return [Route(PATH, self.index), Route(f"{PATH}/{{name}}", self.file)]

    async def index(self, request: Request) -> Response:
        """``GET /reports``: the months with their verdicts, and the timeline of changes."""
        refused = self._authorise(request)
        if refused is not None:
            return refused
        content = await asyncio.to_thread(self._page)
        return _answer(request, content, MEDIA[PAGE], None)

    async def file(self, request: Request) -> Response:
        """``GET /reports/YYYY-MM.html``, ``.pdf``, ``.csv.zip`` or ``.json``."""
        refused = self._authorise(request)
        if refused is not None:
            return refused
        name = str(request.path_params["name"])
        ending = ending_of(name)
        found = None if ending is None else await asyncio.to_thread(_read, self._home.reports / name)
        if ending is None or found is None:
            return PlainTextResponse("there is no such report\n", 404, _SAFE)
        content, changed_s = found
        answered = _answer(request, content, MEDIA[ending], changed_s)
        if ending not in (PAGE, JSON):
            answered.headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return answered

    def _page(self) -> bytes:
        months = listed(self._home)
        css = page_templates().get_template("archive.css").render()
        text = page_templates().get_template("archive.html.j2").render(
            company=self._company,
            months=months,
            line=timeline(months),
            css=Markup(css),  # noqa: S704 -- our own file
        )  # fmt: skip
        return text.encode()


def by_person(home: Home, settings: Settings, clock: Clock, signed_in: Callable[[Request], bool]) -> Authorise:
    """Whoever is signed in, or shows a person's key as a bearer's or (as browsers ask for it) as a password.

    Keys of senders open nothing here. With ``[publish] public`` everybody may read.
    """
    brake = Brake()

    def authorise(request: Request) -> Response | None:
        if settings.publish.public or signed_in(request):
            return None
        shown, address = _shown(request), request.client.host if request.client is not None else ""
        if shown and api_keys.signing_in(api_keys.read(home), shown) is not None:
            return None
        wait_s = brake.failed(address, clock.now_us() / SECOND_US) if shown else 0
        if wait_s:
            return PlainTextResponse("too many wrong keys\n", 429, _SAFE | {"Retry-After": str(wait_s)})
        told = "sign in at /actions, or show a person's key (`edgeloop keys create --role`) as bearer or password\n"
        return PlainTextResponse(told, 401, _SAFE | {"WWW-Authenticate": 'Basic realm="Edgeloop reports"'})

    return authorise


def _shown(request: Request) -> str:
    """The key that is shown; empty where none is."""
    scheme, _, rest = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(rest, validate=True).decode().partition(":")[2]
    except ValueError:  # neither ASCII, nor base64, nor UTF-8
        return ""


_SAFE = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "private, no-cache",
}


def _answer(request: Request, content: bytes, media: str, changed_s: float | None) -> Response:
    """The content, or 304 where the reader has it."""
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = _SAFE | {"ETag": tag, "Content-Security-Policy": _policy(content if media == MEDIA[PAGE] else b"")}
    if changed_s is not None:
        headers["Last-Modified"] = formatdate(changed_s, usegmt=True)
    if _has_it(request, tag, changed_s):
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers | {"Content-Type": media})


def _policy(page: bytes) -> str:
    """Nothing but the page's own style sheet, by its hash, and pictures that are inside of it."""
    found = _STYLE.search(page)
    digest = base64.b64encode(hashlib.sha256(found[1]).digest()).decode() if found else ""
    style = f"style-src 'sha256-{digest}'; " if found else ""
    return f"default-src 'none'; {style}img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def _has_it(request: Request, tag: str, changed_s: float | None) -> bool:
    wanted = request.headers.get("if-none-match")
    if wanted is not None:
        return any(part.strip().removeprefix("W/") in (tag, "*") for part in wanted.split(","))
    since = request.headers.get("if-modified-since")
    if since is None or changed_s is None:
        return False
    try:
        return int(changed_s) <= parsedate_to_datetime(since).timestamp()
    except (ValueError, TypeError, OverflowError):
        return False


def _read(path: Path) -> tuple[bytes, float] | None:
    try:
        if path.is_symlink():  # whoever may write there may point elsewhere; we do not follow
            return None
        return path.read_bytes(), path.stat().st_mtime
    except OSError:
        return None
