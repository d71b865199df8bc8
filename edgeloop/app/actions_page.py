"""``/actions``: what reports asked, answered in a browser by whoever holds a person's key. No script, forms only.

Every change needs a session, a token of the very form, and a step that the action's state allows; the answer to it is a
redirect, so that loading the page again repeats nothing.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import hashlib
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

from markupsafe import Markup
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from edgeloop.app import api_keys
from edgeloop.app.asked import answer, history, listed, today
from edgeloop.app.page_templates import page_templates
from edgeloop.app.sessions import SESSION_S, VISIT_S, Brake, Session, Sessions, secret_stamp, session_secret
from edgeloop.clock import Clock
from edgeloop.errors import HomeError, UsageError
from edgeloop.home import Home
from edgeloop.roles import KINDS, ROLES, responsibility
from edgeloop.settings import Settings
from edgeloop.store.actions import Action, IllegalStepError, NoSuchActionError, State
from edgeloop.store.base import StoreUnavailableError

COOKIE = "edgeloop_session"
VISIT = "edgeloop_visit"
"""Before somebody is signed in: a cookie of its own, so that no form to sign in ends a session."""
PATH = "/actions"
_MOST_BYTES = 20_000
_STEPS: dict[str, State] = {"accept": "accepted", "done": "done", "drop": "dropped"}
_SHOWN_CLOSED = 100


class _RefusedError(Exception):
    """Answered with a status and a sentence on the page; nothing changed."""

    def __init__(self, status: int, sentence: str, wait_s: int = 0) -> None:
        super().__init__(sentence)
        self.status = status
        self.wait_s = wait_s


class ActionsPage:
    """The routes of ``/actions``."""

    def __init__(self, home: Home, settings: Settings, clock: Clock) -> None:
        self._home = home
        self._settings = settings
        self._clock = clock
        self._table = responsibility(settings.roles, settings.decisions)
        self._brake = Brake()
        self._made: Sessions | None = None
        self._stamp: tuple[int, int] | None = None

    def routes(self) -> list[Route]:
        """What it answers to."""
        return [
            Route(PATH, self.page),
            Route(f"{PATH}/sign-in", self.sign_in, methods=["POST"]),
            Route(f"{PATH}/sign-out", self.sign_out, methods=["POST"]),
            Route(f"{PATH}/{{action_id}}", self.step, methods=["POST"]),
        ]

    def signed_in(self, request: Request) -> bool:
        """Whether a person is; their session opens ``/reports`` too."""
        session = self._session(request)
        return session is not None and session.key is not None

    async def page(self, request: Request) -> Response:
        """``GET /actions``: the actions, or the form to sign in."""
        session = self._session(request)
        if session is None or session.key is None:
            return self._sign_in_page(request, 200, "")
        return await self._list_page(session, 200, "")

    async def sign_in(self, request: Request) -> Response:
        """``POST /actions/sign-in``: a person's key opens a session."""
        visit = self._sessions.read(request.cookies.get(VISIT), ())
        try:
            form = await self._form(request, visit, "sign-in")
            key = api_keys.signing_in(api_keys.read(self._home), form.get("key", ""))
            if key is None:
                address = request.client.host if request.client is not None else ""
                wait_s = self._brake.failed(address, self._clock.now_us() / 1_000_000)
                if wait_s:
                    raise _RefusedError(429, f"Too many wrong keys. Try again in {wait_s} seconds.", wait_s)
                raise _RefusedError(401, "That is no key of a person. Keys of senders do not open this page.")
        except _RefusedError as error:
            return self._sign_in_page(request, error.status, str(error), error.wait_s)
        answered = RedirectResponse(PATH, 303, _headers())
        # Lax: who follows a link in a mail stays signed in; forms are guarded by more than the cookie
        _set_cookie(request, answered, COOKIE, self._sessions.opened(key), SESSION_S, path="/", samesite="lax")
        return answered

    async def sign_out(self, request: Request) -> Response:
        """``POST /actions/sign-out``: the browser forgets its session."""
        session = self._session(request)
        try:
            await self._form(request, session, "sign-out")
        except _RefusedError as error:
            return self._sign_in_page(request, error.status, str(error))
        answered = RedirectResponse(PATH, 303, _headers())
        answered.delete_cookie(COOKIE, path="/")
        return answered

    async def step(self, request: Request) -> Response:
        """``POST /actions/ID``: accept, done or drop."""
        session = self._session(request)
        if session is None or session.key is None:
            return self._sign_in_page(request, 401, "Your session is over. Sign in, then do it again.")
        action_id = str(request.path_params["action_id"])
        try:
            form = await self._form(request, session, f"step:{action_id}")
            state = _STEPS.get(form.get("step", ""))
            if state is None:
                raise _RefusedError(400, "The form names no step: it is accept, done or drop.")
            who, reason = session.key.name, form.get("reason")
            await asyncio.to_thread(
                answer, self._home, self._settings, action_id, state, who, reason=reason, clock=self._clock, whole=True
            )
        except _RefusedError as error:
            return await self._list_page(session, error.status, str(error))
        except IllegalStepError as error:
            return await self._list_page(session, 409, f"Nothing was changed: {error}.")
        except (NoSuchActionError, HomeError):
            return await self._list_page(session, 404, "There is no such action.")
        except UsageError as error:
            return await self._list_page(session, 400, f"Nothing was changed: {error}.")
        except StoreUnavailableError:
            return await self._list_page(session, 503, _AWAY)
        return RedirectResponse(f"{PATH}#a-{action_id}", 303, _headers())

    @property
    def _sessions(self) -> Sessions:
        """By the home's secret, read again when the file changed, so that a new one signs everybody out at once."""
        stamp = secret_stamp(self._home)  # before the secret: one that comes in between is read the next time
        if self._made is None or stamp is None or stamp != self._stamp:
            self._made, self._stamp = Sessions(session_secret(self._home), self._clock), stamp
        return self._made

    def _session(self, request: Request) -> Session | None:
        return self._sessions.read(request.cookies.get(COOKIE), api_keys.read(self._home))

    async def _form(self, request: Request, session: Session | None, form: str) -> Mapping[str, str]:
        """The fields of a form that came from a page of this session, and from no other site."""
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
            raise _RefusedError(415, "This takes the forms of its own page alone.")
        body = b""
        try:
            async for chunk in request.stream():
                body += chunk
                if len(body) > _MOST_BYTES:
                    raise _RefusedError(413, "That is too long for a form of this page.")
            fields = dict(parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True, max_num_fields=10))
        except (ValueError, ClientDisconnect) as error:
            raise _RefusedError(400, "The form cannot be read.") from error
        origin = request.headers.get("origin")
        foreign = _foreign(origin, request.headers.get("host", ""))
        if foreign or request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            raise _RefusedError(403, "The form came from another site. Nothing was changed.")
        if session is None or not self._sessions.is_token(session, form, fields.get("token", "")):
            raise _RefusedError(403, "The form is too old, or not of this page. Nothing was changed: try it again.")
        return fields

    def _sign_in_page(self, request: Request, status: int, problem: str, wait_s: int = 0) -> Response:
        session, cookie = self._sessions.visit()
        page = self._rendered("sign-in.html.j2", status, problem, token=self._sessions.token(session, "sign-in"))
        if wait_s:
            page.headers["Retry-After"] = str(wait_s)
        _set_cookie(request, page, VISIT, cookie, VISIT_S, path=PATH, samesite="strict")
        return page

    async def _list_page(self, session: Session, status: int, problem: str) -> Response:
        assert session.key is not None  # noqa: S101 -- callers see to it
        try:
            actions, steps = await asyncio.to_thread(
                lambda: (listed(self._home, self._settings), history(self._home, self._settings))
            )
        except HomeError:  # nothing was stored yet
            actions, steps = [], {}
        except StoreUnavailableError:
            actions, steps, status, problem = [], {}, 503, _AWAY
        own = session.key.role
        still = sorted((a for a in actions if a.open), key=lambda a: (a.due, a.action_id))
        return self._rendered(
            "actions.html.j2",
            status,
            problem,
            key=session.key,
            role=ROLES.get(own, ""),
            groups=_groups(still, own),
            closed=[a for a in actions if not a.open][:_SHOWN_CLOSED],
            steps=steps,
            today=today(self._settings, self._clock.now_us()),
            token=lambda form: self._sessions.token(session, form),
            table=self._table,
            kinds=KINDS,
            roles=ROLES,
            ladder=self._settings.escalation.ladder,
        )

    def _rendered(self, template: str, status: int, problem: str, **values: Any) -> Response:
        css = _css()
        page = page_templates().get_template(template)
        text = page.render(company=self._settings.company, css=Markup(css), problem=problem, path=PATH, **values)  # noqa: S704
        return HTMLResponse(text, status, _headers(css))


def _set_cookie(
    request: Request,
    response: Response,
    name: str,
    value: str,
    max_age_s: int,
    *,
    path: str,
    samesite: Literal["lax", "strict"],
) -> None:
    secure = request.url.scheme == "https"
    response.set_cookie(name, value, max_age_s, path=path, httponly=True, samesite=samesite, secure=secure)


def _foreign(origin: str | None, host: str) -> bool:
    """Whether a form says that it comes from a page of another host."""
    try:
        return origin is not None and urlsplit(origin).netloc != host
    except ValueError:  # no address at all
        return True


_AWAY = "The store does not answer now. Nothing was changed: try again in a minute."


def _groups(still: list[Action], own: str) -> list[tuple[str, list[Action]]]:
    """The open ones, first those that the signed-in person's role answers for."""
    if not own:
        return [("Open", still)]
    return [("Yours", [a for a in still if a.role == own]), ("Others’", [a for a in still if a.role != own])]


def _headers(css: str = "") -> dict[str, str]:
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    return {
        "Content-Security-Policy": (
            f"default-src 'none'; style-src 'sha256-{digest}'; form-action 'self'; base-uri 'none'; "
            "frame-ancestors 'none'"
        ),
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        # Not no-referrer: with it browsers say `Origin: null` of our own forms.
        "Referrer-Policy": "same-origin",
        "Cache-Control": "no-store",
    }


@functools.cache
def _css() -> str:
    return page_templates().get_template("actions.css").render()
