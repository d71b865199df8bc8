"""How the door reads what a request holds: within limits of its own, and of all requests together."""

from __future__ import annotations

from starlette.requests import ClientDisconnect, Request

from connectors import native
from edgeloop.app.turns import Aside

_MOST_UNPACKED = 20
"""A packed byte of events is seldom more when it is unpacked."""
_ENCODINGS = ("identity", "gzip")


class RefusedError(Exception):
    """Answered with a status and a sentence, nothing kept."""

    def __init__(self, status: int, sentence: str, wait_s: int = 0) -> None:
        """``wait_s``: after so long the same may be tried again."""
        super().__init__(sentence)
        self.status = status
        self.wait_s = wait_s


class Body:
    """What one request holds: ``sent`` is the bytes as they came, packed or not."""

    def __init__(self, held: _Held, encoding: str, limit: int, aside: Aside) -> None:
        self.sent = b""
        self._aside = aside
        self._held = held
        self._encoding = encoding
        self._limit = limit

    async def content(self) -> bytes:
        """The bytes unpacked.

        Raises:
            RefusedError: they are no gzip, or too many.
        """
        if self._encoding == "identity":
            return self.sent
        try:
            size = len(self.sent) * _MOST_UNPACKED
            content = await self._aside.work(size, native.unpacked, self.sent, self._limit)
        except native.UnpackError as error:
            if error.too_large:
                raise RefusedError(413, f"{error}: send smaller batches") from error
            raise RefusedError(400, str(error)) from error
        self._held.add(len(content))
        return content

    async def read(self, request: Request) -> None:
        """Take in what comes.

        Raises:
            RefusedError: too much, or the connection closed.
        """
        parts: list[bytes] = []
        size = 0
        try:
            async for chunk in request.stream():
                parts.append(chunk)
                size += len(chunk)
                if size > self._limit:
                    raise RefusedError(413, f"more than {self._limit:,} bytes in one request: send smaller batches")
                self._held.add(len(chunk))
        except ClientDisconnect as error:
            raise RefusedError(400, "the connection closed before the body ended") from error
        self.sent = b"".join(parts)


class Bodies:
    """The bodies that a door holds at one time."""

    def __init__(self, most_bytes: int, aside: Aside) -> None:
        """Of all requests together; one alone is taken whatever its size, or it would be refused for ever."""
        self._aside = aside
        self.most_bytes = most_bytes
        self.bytes = 0
        """Held now."""

    def of(self, request: Request, limit: int) -> _Reading:
        """What a request holds, as it came: ``async with``, and held until the end of the block.

        Raises:
            RefusedError: an unknown encoding, more than ``limit`` bytes, or too many are held already.
        """
        encoding = request.headers.get("content-encoding", "identity").lower()
        if encoding not in _ENCODINGS:
            raise RefusedError(415, "Content-Encoding may be gzip or absent")
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced[:20]) > limit:
            raise RefusedError(413, f"more than {limit:,} bytes in one request: send smaller batches")
        held = _Held(self)
        return _Reading(request, Body(held, encoding, limit, self._aside), held)


class _Reading:
    def __init__(self, request: Request, body: Body, held: _Held) -> None:
        self._request = request
        self._body = body
        self._held = held

    async def __aenter__(self) -> Body:
        try:
            await self._body.read(self._request)
        except BaseException:
            self._held.release()
            raise
        return self._body

    async def __aexit__(self, *_: object) -> None:
        self._held.release()


class _Held:
    """The bytes of one request."""

    def __init__(self, of_all: Bodies) -> None:
        self._of_all = of_all
        self._own = 0

    def add(self, count: int) -> None:
        others = self._of_all.bytes - self._own
        if others and self._of_all.bytes + count > self._of_all.most_bytes:
            raise RefusedError(503, "too many bytes of other requests are being worked on; send the same again later")
        self._own += count
        self._of_all.bytes += count

    def release(self) -> None:
        self._of_all.bytes -= self._own
        self._own = 0
