"""Who is signed in: a signed cookie for each session, a signed token for each form, and a brake on guessing keys.

Nothing is kept on the server: a session names the key that it was opened with, and ends with that key, with its age, or
when the home's ``keys/sessions.key`` is replaced.
"""

from __future__ import annotations

import hmac
import secrets
from collections import deque
from collections.abc import Sequence

import msgspec
from itsdangerous import BadData, URLSafeSerializer

from edgeloop.app.api_keys import ApiKey
from edgeloop.clock import SECOND_US, Clock
from edgeloop.home import Home

SESSION_KEY = "sessions.key"
SESSION_S = 8 * 3_600
VISIT_S = 3_600
"""How long a sign-in form may stay open."""
_MOST_COOKIE = 1_000


class Session(msgspec.Struct, frozen=True):
    """A visitor: ``key`` is None until they sign in. Forms are bound to ``nonce``."""

    nonce: str
    key: ApiKey | None = None


def session_secret(home: Home) -> bytes:
    """The key that cookies and forms are signed with, made at first use; a new one signs everybody out."""
    path = home.keys / SESSION_KEY
    for _ in range(2):
        try:
            found = bytes.fromhex(path.read_text(encoding="ascii").strip())
            if len(found) >= 32:
                return found
        except (FileNotFoundError, ValueError):
            pass
        home.write_secret(SESSION_KEY, secrets.token_hex(32))
    return bytes.fromhex(path.read_text(encoding="ascii").strip())


class Sessions:
    """Makes and reads cookies and forms' tokens."""

    def __init__(self, secret: bytes, clock: Clock) -> None:
        self._clock = clock
        self._cookies = URLSafeSerializer(secret, salt="session")
        self._forms = URLSafeSerializer(secret, salt="form")

    def visit(self) -> tuple[Session, str]:
        """A visitor who is not signed in, and their cookie."""
        session = Session(secrets.token_urlsafe(16))
        return session, self._cookies.dumps([session.nonce, "", self._now_s()])

    def opened(self, key: ApiKey) -> str:
        """The cookie of a new session; never the nonce of the visit before it."""
        return self._cookies.dumps([secrets.token_urlsafe(16), key.sha256[:32], self._now_s()])

    def read(self, cookie: str | None, keys: Sequence[ApiKey]) -> Session | None:
        """The session of a cookie; None where it is forged, too old, or its key is gone or may not sign in."""
        if not cookie or len(cookie) > _MOST_COOKIE:
            return None
        try:
            nonce, digest, since_s = self._cookies.loads(cookie)
        except (BadData, ValueError, TypeError):
            return None
        age_s = self._now_s() - since_s
        if not 0 <= age_s < (SESSION_S if digest else VISIT_S):
            return None
        if not digest:
            return Session(nonce)
        key = next((k for k in keys if k.person and k.sha256.startswith(digest)), None)
        return None if key is None else Session(nonce, key)

    def token(self, session: Session, form: str) -> str:
        """What a form of a session carries; good for that form of that session alone."""
        token: str = self._forms.dumps([session.nonce, form])
        return token

    def is_token(self, session: Session, form: str, token: str) -> bool:
        """Whether a form came from a page of this session."""
        return hmac.compare_digest(self.token(session, form).encode(), token.encode())

    def _now_s(self) -> int:
        return self._clock.now_us() // SECOND_US


class Brake:
    """Lets few wrong keys a minute through, from one address and in all."""

    FROM_ONE, IN_ALL, SPAN_S = 5, 100, 60

    def __init__(self) -> None:
        self._failures: deque[tuple[float, str]] = deque(maxlen=self.IN_ALL)

    def wait_s(self, address: str, now_s: float) -> int:
        """How long an address has to wait before it may try a key; 0: it may now."""
        recent = [(at, who) for at, who in self._failures if now_s - at < self.SPAN_S]
        own = [at for at, who in recent if who == address]
        waits = [self.SPAN_S - (now_s - own[-self.FROM_ONE])] if len(own) >= self.FROM_ONE else []
        waits += [self.SPAN_S - (now_s - recent[0][0])] if len(recent) >= self.IN_ALL else []
        return max((int(wait) + 1 for wait in waits), default=0)

    def failed(self, address: str, now_s: float) -> None:
        """Note a wrong key."""
        self._failures.append((now_s, address))
