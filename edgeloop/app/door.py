"""The door over HTTP: verify over the raw bytes, pseudonymise and scrub in memory, append, and only then answer.

A vendor is never answered 404 or 410 (Typeform would switch its webhook off), and never 5xx for content that cannot
succeed (it would be sent for hours). Logs and answers hold no body, no raw id and no secret.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from html import escape

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from connectors import (
    MOST_EVENTS,
    Intake,
    Item,
    Scope,
    Taken,
    TooManyError,
    events_of_body,
    in_runs,
    typeform,
    zigpoll,
)
from edgeloop import __version__
from edgeloop.app import api_keys
from edgeloop.app.actions_page import ActionsPage
from edgeloop.app.append_queue import AppendQueue
from edgeloop.app.archive_page import ArchivePage, by_person
from edgeloop.app.rates import Rates
from edgeloop.app.ready import HomeProbe, Readiness, appends_condition
from edgeloop.app.request_bodies import Bodies, RefusedError
from edgeloop.app.scrape import DoorCounts, SpineCollector, registry_of, render
from edgeloop.app.turns import Aside, Turns
from edgeloop.app.worker import Worker
from edgeloop.clock import Clock, to_us
from edgeloop.home import API_KEYS, Home
from edgeloop.horizon import horizon_of
from edgeloop.log.base import Log, LogUnavailableError, largest_bytes_of
from edgeloop.settings import Settings

SENT_AT_HEADER = "Edgeloop-Sent-At"
_RETRY_AFTER_S = 5
_UNREADY_S = 10.0
_UNSIGNED = "the signature is missing or wrong: is [typeform] secret the webhook's secret?"
_CSP = "default-src 'none'; style-src 'unsafe-inline'"


class Door:
    """Routes and counters of one door."""

    def __init__(self, home: Home, settings: Settings, log: Log, clock: Clock, worker: Worker | None = None) -> None:
        self._home = home
        self._settings = settings
        intake = Intake(home, clock, horizon_of(log), largest_bytes=largest_bytes_of(log), settings=settings.door)
        self._turns = Turns(intake, clock.now_us)
        self._clock = clock
        self._worker = worker
        self._queue = AppendQueue(
            log,
            on_append=worker.wake if worker is not None else None,
            max_waiting_bytes=int(settings.door.max_waiting_mb * 1_000_000),
        )
        self._aside = Aside()
        self._bodies = Bodies(int(settings.door.max_in_flight_mb * 1_000_000), self._aside)
        self._limit = int(settings.door.max_body_mb * 1_000_000)
        self._hook_limit = int(min(settings.door.max_hook_mb, settings.door.max_body_mb) * 1_000_000)
        self._rates = Rates()
        self._counts = DoorCounts()
        self._registry = registry_of(SpineCollector(home, settings, log, clock, self._counts))
        self._probe = HomeProbe(home, settings, log)
        # One at a time: appends need threads too, and a busy log holds whoever looks at it.
        self._looking = asyncio.Lock()
        self._keys: list[api_keys.ApiKey] = []
        self._keys_stamp: tuple[int, int] | None = None
        self._failed_at: float | None = None

    def routes(self) -> list[Route]:
        """What the door answers to."""
        return [
            Route("/", self.status),
            Route("/livez", self.live),
            Route("/readyz", self.ready),
            Route("/metrics", self.metrics),
            Route("/v1/events", self.events, methods=["POST"]),
            Route("/hooks/typeform", self.typeform, methods=["POST"]),
            Route("/hooks/zigpoll", self.zigpoll, methods=["POST"]),
            Route("/hooks/zigpoll/{token:path}", self.zigpoll, methods=["POST"]),
            Route("/hooks/{vendor:path}", self.unknown_hook, methods=["POST"]),
        ]

    async def events(self, request: Request) -> Response:
        """``POST /v1/events``: a JSON array or NDJSON, gzip or not; answers what became of each event."""
        try:
            key = self._sender(request)
            sent_at_us = _sent_at(request.headers.get(SENT_AT_HEADER))
            async with self._bodies.of(request, self._limit) as came:
                body = await came.content()
                taken = await self._take(
                    lambda: list(in_runs(events_of_body(body))), len(body), "http", sent_at_us, key
                )
        except RefusedError as error:
            return self._refuse("events", error)
        if not taken and not body.strip():
            return self._refuse("events", RefusedError(400, "the body is empty: send a JSON array or one event a line"))
        nothing_readable = bool(taken) and all(t.unreadable for t in taken)
        return await self._turns.of_many(len(taken), lambda: _json(_results(taken), 400 if nothing_readable else 202))

    async def typeform(self, request: Request) -> Response:
        """``POST /hooks/typeform``: one response of a form, signed."""
        try:
            own = self._settings.typeform
            secrets = (own.secret, own.previous_secret)
            header = request.headers.get(typeform.SIGNATURE_HEADER)
            if not typeform.may_be_signed(header, secrets):
                raise RefusedError(401, _UNSIGNED)
            async with self._bodies.of(request, self._hook_limit) as came:
                if not await self._aside.work(len(came.sent), typeform.signed, came.sent, header, secrets):
                    raise RefusedError(401, _UNSIGNED)
                body = await came.content()
                taken = await self._take(lambda: [typeform.item(body, own)], len(body), "typeform", None)
        except RefusedError as error:
            return self._refuse("typeform", error)
        return _json(_result(taken[0]), 202)

    async def zigpoll(self, request: Request) -> Response:
        """``POST /hooks/zigpoll/TOKEN``: answers to a poll; whoever knows the path may speak, nothing is signed."""
        try:
            own = self._settings.zigpoll
            if not zigpoll.admitted(request.path_params.get("token", ""), (own.token, own.previous_token)):
                raise RefusedError(401, "the path does not end in the token: is it [zigpoll] token?")
            async with self._bodies.of(request, self._hook_limit) as came:
                body = await came.content()
                arrived_us = self._clock.now_us()
                taken = await self._take(lambda: zigpoll.items(body, own, arrived_us), len(body), "zigpoll", None)
        except RefusedError as error:
            return self._refuse("zigpoll", error)
        return _json(_results(taken), 202)

    async def unknown_hook(self, _request: Request) -> Response:
        """Any other hook: not 404, on which vendors switch a webhook off for good."""
        return self._refuse(
            "hooks", RefusedError(401, "this door has no such hook; known: /hooks/typeform, /hooks/zigpoll/TOKEN")
        )

    async def live(self, _request: Request) -> Response:
        """``GET /livez``: the process runs."""
        return PlainTextResponse("ok\n")

    async def ready(self, _request: Request) -> Response:
        """``GET /readyz``: 200 while every condition holds, else 503; the body lists each with a sentence."""
        async with self._looking:
            conditions = list(await asyncio.to_thread(self._probe.conditions))
        now = asyncio.get_running_loop().time()
        conditions.append(appends_condition(None if self._failed_at is None else now - self._failed_at, _UNREADY_S))
        if self._worker is not None:
            conditions.append(self._worker.condition())
        ready = all(condition.ok for condition in conditions)
        return _json(Readiness(ready, conditions), 200 if ready else 503)

    async def metrics(self, request: Request) -> Response:
        """``GET /metrics``: every metric of docs/metrics.md, in Prometheus' text format."""
        async with self._looking:
            content, content_type = await asyncio.to_thread(render, self._registry, request.headers.get("accept"))
        return Response(content, headers={"Content-Type": content_type})

    async def status(self, _request: Request) -> Response:
        """``GET /``: what came in since the start."""
        rows = [(door, kind, n) for (door, kind), n in sorted(self._counts.accepted.items())]
        rows += [(door, f"dead letter: {reason}", n) for (door, reason), n in sorted(self._counts.dead.items())]
        rows += [(door, f"refused with {status}", n) for (door, status), n in sorted(self._counts.refused.items())]
        body = "".join(
            f"<tr><td>{escape(door)}</td><td>{escape(what)}</td><td>{n:,}</td></tr>" for door, what, n in rows
        )
        table = f"<table><tr><th scope=col>door<th scope=col>what<th scope=col>count</tr>{body}</table>"
        into_the_tables = (
            "<code>edgeloop process</code> puts them into the tables"
            if self._worker is None
            else "the worker puts them into the tables"
        )
        page = (
            "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
            "<title>Edgeloop door</title><style>:root{color-scheme:light dark}body{font:16px/1.5 system-ui;margin:2rem}"
            "td,th{padding:.2rem 1rem .2rem 0;text-align:left}td:last-child{text-align:right}</style>"
            f"<h1>The door is open</h1><p>Edgeloop {__version__} for {escape(self._settings.company)}. "
            f"Since it opened:</p>{table if rows else '<p>Nothing has come in yet.</p>'}"
            f"<p>Send events to <code>POST /v1/events</code>; {into_the_tables}.</p>"
            "<p><a href=reports>Monthly reports</a></p>"
        )
        return HTMLResponse(page, headers={"Content-Security-Policy": _CSP})

    async def _take(
        self,
        read: Callable[[], list[Item]],
        size: int,
        source: str,
        sent_at_us: int | None,
        key: api_keys.ApiKey | None = None,
    ) -> list[Taken]:
        try:
            items = await self._aside.work(size, read)
            if len(items) > MOST_EVENTS:
                raise TooManyError
        except TooManyError as error:
            raise RefusedError(413, f"{error}: send smaller batches") from error
        if key is not None:
            self._rates.spend(key.sha256, key.rate, len(items))
        scope = None if key is None else Scope(key.types)
        taken, entries = await self._turns.take(items, source, sent_at_us, scope)
        try:
            await self._queue.append(entries)
        except LogUnavailableError as error:
            self._failed_at = asyncio.get_running_loop().time()
            raise RefusedError(503, "the log cannot take events now; send the same again later") from error
        self._failed_at = None
        await self._turns.of_many(len(taken), lambda: self._count(source, taken))
        return taken

    def _count(self, source: str, taken: list[Taken]) -> None:
        for one in taken:
            if one.rejected is not None:
                self._counts.dead[source, one.rejected.reason] += 1
            elif one.type is not None:
                self._counts.accepted[source, one.type] += 1

    def _sender(self, request: Request) -> api_keys.ApiKey:
        key = api_keys.sender_of(self._api_keys(), request.headers.get("authorization"))
        if key is None:
            raise RefusedError(401, "show a key as `Authorization: Bearer KEY`; `edgeloop keys create` makes one")
        if api_keys.ended(key, self._clock.now_us()):
            raise RefusedError(401, f"this key ended on {key.until}; `edgeloop keys create` makes another")
        wait_s = self._rates.wait_s(key.sha256, key.rate)
        if wait_s:
            raise RefusedError(
                429, f"this key sends more than its {key.rate:,} events a second; send the same again later", wait_s
            )
        return key

    def _api_keys(self) -> list[api_keys.ApiKey]:
        """The keys, read again when the file changed, so that a new key works at once."""
        try:
            info = (self._home.keys / API_KEYS).stat()
        except FileNotFoundError:
            return []
        stamp = (info.st_mtime_ns, info.st_ino)
        if stamp != self._keys_stamp:
            self._keys, self._keys_stamp = api_keys.read(self._home), stamp
        return self._keys

    def _refuse(self, door: str, error: RefusedError) -> Response:
        self._counts.refused[door, error.status] += 1
        wait_s = error.wait_s or (_RETRY_AFTER_S if error.status == 503 else 0)
        headers = {"Retry-After": str(wait_s)} if wait_s else {}
        return _json({"error": str(error)}, error.status, headers)


def create_app(home: Home, settings: Settings, log: Log, clock: Clock, worker: Worker | None = None) -> Starlette:
    """The door as an ASGI application, beside a worker or alone; without the pseudonym key it does not open."""
    door, actions = Door(home, settings, log, clock, worker), ActionsPage(home, settings, clock)
    archive = ArchivePage(home, settings, by_person(home, settings, clock, actions.signed_in))
    return Starlette(routes=[*door.routes(), *actions.routes(), *archive.routes()])


def _sent_at(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError("no zone")
        return to_us(moment)
    except (ValueError, OverflowError) as error:
        raise RefusedError(400, f"{SENT_AT_HEADER} is no RFC 3339 time with a zone") from error


def _results(taken: list[Taken]) -> dict[str, object]:
    return {
        "accepted": sum(t.rejected is None for t in taken),
        "dead_letters": sum(t.rejected is not None for t in taken),
        "results": [_result(t) for t in taken],
        **({"no_numbers": none} if (none := sum(t.no_numbers for t in taken)) else {}),
    }


def _result(taken: Taken) -> dict[str, object]:
    kind, _, number = taken.place.partition(" ")
    result: dict[str, object] = {}
    if number.isdecimal():
        result[kind] = int(number)
    elif " to " in number:  # a run: line 3 to 7
        first, _, last = number.partition(" to ")
        result[kind], result["to"] = int(first), int(last)
    if taken.rejected is None:
        result["status"], result["id"] = "accepted", taken.id
    else:
        result["status"] = "dead_letter"
        result["reason"], result["error"] = taken.rejected.reason, taken.rejected.detail
    return result


def _json(content: object, status: int, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(content), status, headers, "application/json")
