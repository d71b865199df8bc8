"""`/actions` over a real socket: signing in, answering, and everything that must not work."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import ExitStack, closing
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from edgeloop.app import api_keys
from edgeloop.app.actions_page import COOKIE, VISIT
from edgeloop.app.cli import run
from edgeloop.app.door import create_app
from edgeloop.app.sessions import SESSION_S, VISIT_S, Brake, Sessions, session_secret
from edgeloop.clock import SECOND_US
from edgeloop.home import Home
from edgeloop.roles import RoleSettings
from edgeloop.settings import Settings
from edgeloop.store.actions import Action, Answer
from edgeloop.store.sqlite import SqliteStore
from tests.fakes import FixedClock, MemoryLog, at
from tests.test_actions_store import action
from tests.test_door import listening

NOW = at("2026-04-20T12:00:00Z")
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)> {{ 7 * 7 }} \"'><h1>owned</h1>\u202e"
SETTINGS = Settings(
    company="Finch & Parcels", timezone="Europe/Berlin", roles={"devops_lead": RoleSettings(name="Ana Pires")}
)


class Fields(HTMLParser):
    """Every form of a page: its address and its hidden fields; and the elements that it holds."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.forms: list[tuple[str, dict[str, str]]] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        self.tags += [f"on: {name}" for name in found if name.startswith("on")]
        if tag == "form":
            self.forms.append((found["action"], {}))
        elif tag == "input" and found.get("type") == "hidden":
            self.forms[-1][1][found["name"]] = found["value"]

    def of(self, address: str) -> dict[str, str]:
        return next(fields for to, fields in self.forms if to == address)


class Site:
    """The page of a home with two actions, one of them of somebody else's role."""

    def __init__(self, home: Home, clock: FixedClock, address: str) -> None:
        self.home, self.clock, self.address = home, clock, address
        self.opened = ExitStack()
        self.key = api_keys.create(home, "ana", clock, kind="person", role="devops_lead")
        self.client = self.browser()

    def browser(self) -> httpx.Client:
        return self.opened.enter_context(httpx.Client(base_url=self.address, timeout=10, trust_env=False))

    def sign_in(self, key: str | None = None, client: httpx.Client | None = None) -> httpx.Response:
        client = client or self.client
        fields = Fields(client.get("/actions").text).of("/actions/sign-in")
        return client.post("/actions/sign-in", data={**fields, "key": self.key if key is None else key})

    def fields(self, asked: Action) -> dict[str, str]:
        return Fields(self.client.get("/actions").text).of(f"/actions/{asked.action_id}")

    def step(self, asked: Action, step: str, **data: str) -> httpx.Response:
        return self.client.post(f"/actions/{asked.action_id}", data={**self.fields(asked), "step": step, **data})

    def state(self, asked: Action) -> tuple[Any, ...]:
        with closing(SqliteStore(self.home.store)) as store:
            (row,) = store._db.execute(
                "SELECT state, reason FROM actions WHERE action_id = ?", (asked.action_id,)
            ).fetchall()
        return row

    def steps(self) -> list[tuple[Any, ...]]:
        with closing(SqliteStore(self.home.store)) as store:
            return list(store._db.execute("SELECT state, who, reason FROM action_history WHERE who <> 'report'"))


MINE = action(0, title="Shorter ETA window", due="2026-04-10")
OTHER = action(1, title=HOSTILE, why=HOSTILE, owner=HOSTILE, role="data_engineer", due="2026-05-10")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    home = Home(tmp_path / "home")
    home.create()
    with closing(SqliteStore(home.store)) as store:
        store.add_actions([MINE, OTHER], "report")
    clock = FixedClock(NOW)
    with listening(create_app(home, SETTINGS, MemoryLog(), clock)) as address:
        made = Site(home, clock, address)
        with made.opened:
            yield made


# What works.


def test_sign_in_answer_and_sign_out(site: Site) -> None:
    assert "Shorter ETA" not in site.client.get("/actions").text
    entered = site.sign_in()
    assert (entered.status_code, entered.headers["location"]) == (303, "/actions")
    page = site.client.get("/actions").text
    assert "Signed in as" in page
    assert page.index("Yours") < page.index("Shorter ETA window") < page.index("Others’") < page.index("alert(2)")
    assert page.count("✗ late") == 1
    assert "Ana Pires" in page
    for step, state in (("accept", "accepted"), ("done", "done")):
        answered = site.step(MINE, step, reason="rolled out" if step == "done" else "")
        assert answered.status_code == 303
        assert answered.headers["location"] == f"/actions#a-{MINE.action_id}"
        assert site.state(MINE)[0] == state
    assert site.steps() == [("accepted", "ana", None), ("done", "ana", "rolled out")]
    page = site.client.get("/actions").text
    assert page.index("Closed") < page.index("Shorter ETA window")
    fields = Fields(page).of("/actions/sign-out")
    assert site.client.get("/reports").status_code == 200
    left = site.client.post("/actions/sign-out", data=fields)
    assert left.status_code == 303
    assert site.client.get("/reports").status_code == 401
    assert COOKIE not in site.client.cookies
    assert "Sign in" in site.client.get("/actions").text


def test_dropped_with_a_reason(site: Site) -> None:
    site.sign_in()
    refused = site.step(OTHER, "drop", reason=" ")
    assert refused.status_code == 400
    assert "say why" in refused.text
    assert site.step(OTHER, "drop", reason=HOSTILE).status_code == 303
    assert site.state(OTHER) == ("dropped", HOSTILE.strip())


def test_the_cookie_is_for_this_site_alone_and_hidden_from_scripts(site: Site) -> None:
    entered = site.sign_in()
    (cookie,) = entered.headers.get_list("set-cookie")
    attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert attributes == {"httponly", "samesite=lax", "path=/", f"max-age={SESSION_S}"}
    (visit,) = site.browser().get("/actions").headers.get_list("set-cookie")
    assert visit.startswith(f"{VISIT}=")
    attributes = {part.strip().lower() for part in visit.split(";")[1:]}
    assert attributes == {"httponly", "samesite=strict", "path=/actions", f"max-age={VISIT_S}"}
    fields = Fields(site.browser().get("/actions", headers={"X-Forwarded-Proto": "https"}).text)
    assert fields.of("/actions/sign-in")
    behind_tls = site.browser().get("/actions", headers={"X-Forwarded-Proto": "https"})
    assert "Secure" in behind_tls.headers["set-cookie"]


def test_every_answer_is_fenced_in(site: Site) -> None:
    site.sign_in()
    answers = [
        site.client.get("/actions"), site.browser().get("/actions"), site.step(MINE, "done"),
        site.client.post("/actions/sign-in", data={"key": "x"}),
    ]  # fmt: skip
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "form-action 'self'" in policy
        assert "unsafe" not in policy
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"


# What must not.


def test_hostile_text_is_inert(site: Site) -> None:
    site.sign_in()
    site.step(OTHER, "drop", reason=HOSTILE)
    api_keys.create(site.home, HOSTILE, site.clock, kind="person")
    page = site.client.get("/actions").text
    parsed = Fields(page)
    assert not {"script", "img"} & set(parsed.tags)
    assert not [tag for tag in parsed.tags if tag.startswith("on: ")]
    assert parsed.tags.count("h1") == 1
    assert "{{ 7 * 7 }}" in page
    hostile = api_keys.create(site.home, HOSTILE, site.clock, kind="person")
    site.client.cookies.clear()
    site.sign_in(hostile)
    parsed = Fields(site.client.get("/actions").text)
    assert not {"script", "img"} & set(parsed.tags)


def test_without_a_token_of_the_very_form_nothing_changes(site: Site) -> None:
    site.sign_in()
    address = f"/actions/{MINE.action_id}"
    other = site.fields(OTHER)["token"]
    out = Fields(site.client.get("/actions").text).of("/actions/sign-out")["token"]
    stranger = site.browser()
    site.sign_in(client=stranger)
    theirs = Fields(stranger.get("/actions").text).of(address)["token"]
    for data in (
        {}, {"token": ""}, {"token": "x"}, {"token": other}, {"token": out}, {"token": theirs}, {"token": "é"},
    ):  # fmt: skip
        refused = site.client.post(address, data={"step": "accept", **data})
        assert refused.status_code == 403, data
        assert "Nothing was changed" in refused.text
    assert site.client.post("/actions/sign-out", data={"token": other}).status_code == 403
    assert site.state(MINE) == ("proposed", None)
    assert site.steps() == []


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Origin": "http://["}, {"Sec-Fetch-Site": "cross-site"},
     {"Sec-Fetch-Site": "same-site"}],
)  # fmt: skip
def test_another_site_cannot_even_with_the_token(site: Site, headers: dict[str, str]) -> None:
    site.sign_in()
    data = {**site.fields(MINE), "step": "accept"}
    assert site.client.post(f"/actions/{MINE.action_id}", data=data, headers=headers).status_code == 403
    assert site.state(MINE)[0] == "proposed"
    own = {"Origin": site.address, "Sec-Fetch-Site": "same-origin"}
    assert site.client.post(f"/actions/{MINE.action_id}", data=data, headers=own).status_code == 303


def test_a_step_that_the_state_does_not_allow_is_409_with_a_sentence(site: Site) -> None:
    site.sign_in()
    data = site.fields(MINE)
    early = site.client.post(f"/actions/{MINE.action_id}", data={**data, "step": "done"})
    assert early.status_code == 409
    assert "accept it first" in early.text
    assert site.step(MINE, "accept").status_code == 303
    twice = site.client.post(f"/actions/{MINE.action_id}", data={**data, "step": "accept"})
    assert twice.status_code == 409
    assert "is accepted already" in twice.text
    assert site.steps() == [("accepted", "ana", None)]


def test_wrong_forms_are_refused_in_words(site: Site) -> None:
    site.sign_in()
    address, data = f"/actions/{MINE.action_id}", site.fields(MINE)
    assert site.client.post(address, data={**data, "step": "explode"}).status_code == 400
    assert site.client.post(address, data=data).status_code == 400
    assert site.client.post(address, json=data).status_code == 415
    assert site.client.post(address, data={**data, "step": "drop", "reason": "x" * 30_000}).status_code == 413
    assert site.client.post(address, data={**data, "step": "drop", "reason": "x" * 1_001}).status_code == 400
    assert site.client.post(address, content=b"%ff=\xff", headers=_FORM).status_code == 400
    assert site.client.post(address, content=b"&".join([b"a=1"] * 500), headers=_FORM).status_code == 400
    assert site.client.get(address).status_code == 405
    missing = "/actions/0000000000"
    token = Sessions(session_secret(site.home), site.clock)
    session = token.read(site.client.cookies[COOKIE], api_keys.read(site.home))
    assert session is not None
    fields = {"token": token.token(session, "step:0000000000"), "step": "accept"}
    assert site.client.post(missing, data=fields).status_code == 404
    assert site.state(MINE) == ("proposed", None)


_FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def test_the_first_characters_of_an_id_are_not_enough_here(site: Site) -> None:
    site.sign_in()
    made = Sessions(session_secret(site.home), site.clock)
    session = made.read(site.client.cookies[COOKIE], api_keys.read(site.home))
    assert session is not None
    short = MINE.action_id[:6]
    fields = {"token": made.token(session, f"step:{short}"), "step": "accept"}
    assert site.client.post(f"/actions/{short}", data=fields).status_code == 404


def test_a_wrong_key_is_401_and_a_senders_too(site: Site) -> None:
    sender = api_keys.create(site.home, "edge", site.clock)
    for key in ("", "el_wrong", sender, site.key + "x", api_keys.read(site.home)[0].sha256):
        refused = site.sign_in(key, site.browser())
        assert refused.status_code == 401, key
        assert refused.headers["set-cookie"].startswith(f"{VISIT}=")
        assert "no key of a person" in refused.text
        site.clock.now += 61 * SECOND_US
    assert "Shorter ETA" not in refused.text
    as_sender = site.client.post("/v1/events", headers={"Authorization": f"Bearer {site.key}"}, content=b"[]")
    assert as_sender.status_code == 401


def test_guessing_is_slowed_down_and_the_right_key_is_not(site: Site) -> None:
    client = site.browser()
    assert [site.sign_in("el_wrong", client).status_code for _ in range(7)] == [401] * 5 + [429] * 2
    refused = site.sign_in("el_wrong", client)
    assert 1 <= int(refused.headers["retry-after"]) <= 61
    assert site.sign_in(client=site.browser()).status_code == 303
    site.clock.now += 61 * SECOND_US
    assert site.sign_in("el_wrong", client).status_code == 401


def test_the_brake_counts_by_address_and_forgets() -> None:
    brake = Brake()
    for address in ("192.0.2.1", "2001:db8:0:1::1"):
        assert [brake.failed(address, 5.0) for _ in range(Brake.FROM_ONE + 1)] == [0] * Brake.FROM_ONE + [61]
    assert brake.failed("2001:db8:0:1:ffff::9", 6.0) == 60  # the same network
    assert brake.failed("2001:db8:0:2::1", 6.0) == 0
    assert brake.failed("::ffff:192.0.2.1", 6.0) == 60
    assert brake.failed("192.0.2.2", 6.0) == 0
    assert brake.failed("192.0.2.1", 65.0) == 0
    for n in range(Brake.MOST_NETS):
        brake.failed(f"name {n}", 70.0)
    assert len(brake._failures) == Brake.MOST_NETS


def test_wrong_keys_from_everywhere_lock_nobody_out(site: Site) -> None:
    app = create_app(site.home, SETTINGS, MemoryLog(), site.clock)

    async def read(address: str, key: str) -> int:
        transport = httpx.ASGITransport(app, client=(address, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://door") as client:
            return (await client.get("/reports", headers={"Authorization": f"Bearer {key}"})).status_code

    async def all_of_them() -> list[int]:
        for n in range(30):
            for _ in range(Brake.FROM_ONE):
                assert await read(f"10.0.0.{n}", "el_wrong") == 401
        return [await read("10.0.0.1", "el_wrong"), await read("192.0.2.1", site.key), await read("10.0.0.1", site.key)]

    assert asyncio.run(all_of_them()) == [429, 200, 200]


def test_a_forged_old_or_foreign_session_gets_the_form_to_sign_in(site: Site) -> None:
    site.sign_in()
    cookie = site.client.cookies[COOKIE]
    foreign = Sessions(b"k" * 32, site.clock).opened(api_keys.read(site.home)[0])
    visit = Sessions(session_secret(site.home), site.clock).visit()[1]
    for forged in (cookie[:-2], cookie + "A", foreign, visit, "", "x" * 5_000, 'a"b', cookie.swapcase()):
        client = site.browser()
        client.cookies.set(COOKIE, forged, path="/")
        page = client.get("/actions")
        assert page.status_code == 200
        assert "Your key" in page.text
        assert "Shorter ETA" not in page.text
        posted = client.post(f"/actions/{MINE.action_id}", data={"step": "accept", "token": "x"})
        assert posted.status_code == 401
    fields = {**site.fields(MINE), "step": "accept"}
    site.clock.now += (SESSION_S - 1) * SECOND_US
    assert "Shorter ETA" in site.client.get("/actions").text
    site.clock.now += SECOND_US
    assert "Your key" in site.client.get("/actions").text
    assert site.client.post(f"/actions/{MINE.action_id}", data=fields).status_code == 401
    assert site.state(MINE)[0] == "proposed"


def test_a_session_ends_with_its_key_and_with_the_homes_secret(site: Site) -> None:
    site.sign_in()
    assert "Shorter ETA" in site.client.get("/actions").text
    assert run(["keys", "remove", site.key[-4:], "--home", str(site.home.path)]) == 0
    assert "Your key" in site.client.get("/actions").text
    assert run(["keys", "remove", "zzzz", "--home", str(site.home.path)]) == 2
    assert (site.home.keys / "sessions.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("how", ["replaced", "removed"])
def test_a_new_secret_of_the_home_signs_everybody_out_at_once(site: Site, how: str) -> None:
    site.sign_in()
    fields = {**site.fields(MINE), "step": "accept"}
    assert "Shorter ETA" in site.client.get("/actions").text
    if how == "replaced":
        site.home.write_secret("sessions.key", "ab" * 32)
    else:
        (site.home.keys / "sessions.key").unlink()
    assert site.client.post(f"/actions/{MINE.action_id}", data=fields).status_code == 401
    assert site.client.get("/reports").status_code == 401
    assert "Your key" in site.client.get("/actions").text
    assert site.sign_in().status_code == 303
    assert "Shorter ETA" in site.client.get("/actions").text


def test_who_comes_from_another_site_stays_signed_in(site: Site) -> None:
    site.sign_in()
    cookie = site.client.cookies[COOKIE]
    for asks in (
        lambda client: client.get("/actions", headers={"Sec-Fetch-Site": "cross-site"}),
        lambda client: client.post("/actions/sign-out", data={"a": "b"}, headers={"Sec-Fetch-Site": "cross-site"}),
        lambda client: client.post("/actions/sign-in", data={"a": "b"}, headers={"Sec-Fetch-Site": "cross-site"}),
    ):
        without = asks(site.browser())  # as a browser that keeps the cookie back
        assert "Your key" in without.text
        for name, value in without.cookies.items():
            site.client.cookies.set(name, value, path="/actions" if name == VISIT else "/")
    assert site.client.cookies[COOKIE] == cookie
    assert "Shorter ETA" in site.client.get("/actions").text


def test_a_new_session_has_another_token_than_the_visit_before(site: Site) -> None:
    """Else somebody who planted a visit's cookie would know the forms of the session."""
    before = Fields(site.client.get("/actions").text).of("/actions/sign-in")["token"]
    site.sign_in()
    after = site.client.get("/actions").text
    assert before not in after
    assert len(set(re.findall(r'name="token" value="([^"]+)"', after))) == 3


def test_two_people_who_answer_at_once(site: Site) -> None:
    other = site.browser()
    site.sign_in()
    site.sign_in(client=other)
    page = Fields(other.get("/actions").text).of(f"/actions/{MINE.action_id}")
    assert site.step(MINE, "accept").status_code == 303
    late = other.post(f"/actions/{MINE.action_id}", data={**page, "step": "accept"})
    assert late.status_code == 409


def test_a_home_without_tables_says_that_nothing_is_open(tmp_path: Path) -> None:
    home = Home(tmp_path / "new")
    home.create()
    with listening(create_app(home, SETTINGS, MemoryLog(), FixedClock(NOW))) as address:
        site = Site(home, FixedClock(NOW), address)
        with site.opened:
            site.sign_in()
            page = site.client.get("/actions")
        assert page.status_code == 200
        assert "Nothing is open here." in page.text
    assert not home.store.exists()


# Keys on the command line.


def test_keys_of_people_are_made_and_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = ["--home", str(tmp_path / "home")]
    assert run(["keys", "create", "--name", "ana", "--role", "devops_lead", *home]) == 0
    assert "/actions" in capsys.readouterr().err
    assert run(["keys", "create", "--name", "guest", "--person", *home]) == 0
    assert run(["keys", "create", *home]) == 0
    capsys.readouterr()
    assert run(["keys", "list", "--json", *home]) == 0
    listed = msgspec.json.decode(capsys.readouterr().out)
    assert [(k["name"], k["kind"], k["role"]) for k in listed] == [
        ("ana", "person", "devops_lead"),
        ("guest", "person", ""),
        ("edge", "sender", ""),
    ]
    assert run(["keys", "create", "--name", "x", "--role", "boss", *home]) == 2
    assert run(["keys", "create", "--person", *home]) == 2


def test_keys_of_the_version_before_are_senders(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.create()
    home.write_secret("api-keys.json", '[{"name": "edge", "id": "abcd", "created": "x", "sha256": "00"}]')
    (key,) = api_keys.read(home)
    assert (key.kind, key.person) == ("sender", False)


def test_answers_have_the_name_of_the_key_and_the_time_of_the_clock(site: Site) -> None:
    site.sign_in()
    site.clock.now += 5
    site.step(MINE, "accept")
    with closing(SqliteStore(site.home.store)) as store:
        rows = store._db.execute("SELECT * FROM action_history WHERE who = 'ana'").fetchall()
    wanted = Answer(action_id=MINE.action_id, occurred_at=NOW + 5, state="accepted", who="ana")
    assert rows == [msgspec.structs.astuple(wanted)]
