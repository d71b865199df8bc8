"""Who is signed in: a signed cookie for each session, a signed token for each form, and a brake on guessing keys.

Nothing is kept on the server: a session names the key that it was opened with, and ends with that key, with its age, or
when the home's ``keys/sessions.key`` is replaced.
"""

from __future__ import annotations

import hmac
import secrets
from collections import OrderedDict, deque
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

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


def secret_stamp(home: Home) -> tuple[int, int] | None:
    """Another one whenever the key was replaced; None where there is none."""
    try:
        info = (home.keys / SESSION_KEY).stat()
    except FileNotFoundError:
        return None
    return info.st_mtime_ns, info.st_ino


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
    """Tells who sends many wrong keys to wait: a few a minute are looked at from one address.

    A right key is never braked: keys have 256 random bits, which nobody guesses, and whoever sends wrong ones from
    elsewhere, or from the same address, must not lock people out.
    """

    FROM_ONE, SPAN_S, MOST_NETS = 5, 60, 10_000

    def __init__(self) -> None:
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()
        """When wrong keys came, by network; the one that failed last is the last."""

    def failed(self, address: str, now_s: float) -> int:
        """Note a wrong key; how many seconds its address is to wait before the next, 0 while these were few."""
        net = _net(address)
        own = self._failures.setdefault(net, deque(maxlen=self.FROM_ONE))
        self._failures.move_to_end(net)
        if len(self._failures) > self.MOST_NETS:
            self._failures.popitem(last=False)
        if len(own) == self.FROM_ONE and now_s - own[0] < self.SPAN_S:
            return int(self.SPAN_S - (now_s - own[0])) + 1
        own.append(now_s)
        return 0


def _net(address: str) -> str:
    """The addresses that one sender has: a single one, of IPv6 all with the same first 64 bits."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if isinstance(found, IPv4Address):
        return str(found)
    return str(found.ipv4_mapped or IPv6Address(int(found) >> 64 << 64))
