"""`/actions` in a real Chromium: axe finds nothing, no foreign request, nothing scrolls sideways, keys are enough."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from edgeloop.app import api_keys
from edgeloop.app.door import create_app
from edgeloop.home import Home
from edgeloop.roles import RoleSettings
from edgeloop.settings import Settings
from edgeloop.store.actions import Answer
from edgeloop.store.sqlite import SqliteStore
from tests.fakes import FixedClock, MemoryLog
from tests.test_actions_page import HOSTILE, MINE, NOW, OTHER
from tests.test_actions_store import action
from tests.test_door import listening
from tests.test_report_browser import browser

__all__ = ["browser"]

pytestmark = pytest.mark.slow

LONG = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft " * 2
SETTINGS = Settings(
    company="Finch & Parcels",
    roles={
        "devops_lead": RoleSettings(name="Ana Pires", deputy="Tom Berg"),
        "data_analyst": RoleSettings(name="مريم الحداد"),
    },
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, Home]]:
    home = Home(tmp_path_factory.mktemp("site") / "home")
    home.create()
    more = [
        MINE, OTHER, action(2, title=LONG, owner=LONG, verdict="roll back"), action(3, verdict="keep testing"),
        action(4, verdict="stop, no effect", title="Nudge to the locker"),
        action(5, verdict="repair the data first", title="اختبار نافذة التسليم", owner="مريم الحداد"),
    ]  # fmt: skip
    with closing(SqliteStore(home.store)) as store:
        store.add_actions(more, "report")
        for number, state in ((3, "accepted"), (4, "dropped")):
            step = Answer(
                action_id=more[number].action_id, occurred_at=NOW, state=state, who="ana",  # type: ignore[arg-type]
                reason="The season is over." if state == "dropped" else None,
            )  # fmt: skip
            store.move_action(step)
    clock = FixedClock(NOW)
    key = api_keys.create(home, "Ana Pires", clock, kind="person", role="devops_lead")
    with listening(create_app(home, SETTINGS, MemoryLog(), clock)) as address:
        yield address, key, home


def sign_in(page: Page, address: str, key: str) -> None:
    """By keyboard alone."""
    page.goto(f"{address}/actions")
    page.keyboard.press("Tab")
    page.keyboard.type(key)
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Signed in as")


@pytest.mark.parametrize(("scheme", "width"), [("light", 1000), ("dark", 1000), ("light", 360), ("dark", 320)])
def test_axe_finds_nothing(browser: Browser, site: tuple[str, str, Home], scheme: str, width: int) -> None:
    address, key, _ = site
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    requests: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.goto(f"{address}/actions")
    for step in ("signed out", "signed in"):
        if step == "signed in":
            sign_in(page, address, key)
            page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, step
        # The page lets no script in, axe neither; it is put in past the policy, by the browser's own tools.
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
    assert [url for url in requests if not url.startswith(address)] == []
    assert complaints == []
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(253, 252, 250)" if scheme == "light" else "rgb(20, 24, 28)"), "the style was refused"
    page.close()


def test_enter_in_the_reason_drops_and_does_not_accept(browser: Browser, site: tuple[str, str, Home]) -> None:
    address, key, home = site
    page = browser.new_page()
    sign_in(page, address, key)
    card = page.locator(f"#a-{OTHER.action_id}")
    card.locator("summary").first.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.type("Not this quarter")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/actions#a-{OTHER.action_id}")
    with closing(SqliteStore(home.store)) as store:
        rows = store._db.execute("SELECT state, reason FROM actions WHERE action_id = ?", (OTHER.action_id,)).fetchall()
    assert rows == [("dropped", "Not this quarter")]
    assert page.locator("h1").count() == 1
    assert HOSTILE[:25] in page.locator(f"#t-{OTHER.action_id}").inner_text()
    page.reload()  # repeats nothing: the answer to a form was a redirect
    assert page.locator(".problem").count() == 0
    page.close()


def test_accept_with_a_click(browser: Browser, site: tuple[str, str, Home], tmp_path: Path) -> None:
    address, key, home = site
    page = browser.new_page()
    sign_in(page, address, key)
    page.locator(f"#a-{MINE.action_id}").get_by_role("button", name="Accept").click()
    page.wait_for_url(f"**/actions#a-{MINE.action_id}")
    with closing(SqliteStore(home.store)) as store:
        rows = store._db.execute("SELECT state FROM actions WHERE action_id = ?", (MINE.action_id,)).fetchall()
    assert rows == [("accepted",)]
    page.close()
