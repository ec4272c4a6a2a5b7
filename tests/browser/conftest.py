"""The dashboard in a real browser: Debian's Chromium, headless.

One browser serves a module, since while it runs the thread counts as inside an event loop, in
which other tests could not start theirs.
"""

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Protocol

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from tests.browser.stub import Stub
from tests.browser.stub_data import StubData

DEADLINE_MS = 20_000
DESKTOP = (1440, 1000)
PHONE = (390, 844)


class OpenPage(Protocol):
    """The `open_page` fixture."""

    def __call__(
        self,
        url: str,
        *,
        size: tuple[int, int] = DESKTOP,
        theme: str = "light",
        expecting: str = "",
        scale: float = 1,
    ) -> Page:
        """Open the dashboard of the server at `url`.

        What the browser complains of fails the test, unless the regex `expecting` finds it.
        """


class RunStub(Protocol):
    """The `run_stub` fixture."""

    def __call__(self, nodes: int = 12, *, interval_s: float = 0.25, history: int = 60) -> Stub:
        """Start a stub with that many nodes and past points."""


class Watch:
    """Notes what the browser complains of, and requests to any other server than `url`."""

    def __init__(self, url: str, expecting: str, complaints: list[str]) -> None:
        self._url = url
        self._expecting = expecting
        self._complaints = complaints

    def follow(self, page: Page) -> None:
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self._complain(f"raised: {error}"))
        page.on("request", self._asked)

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self._complain(message.text)

    def _asked(self, request: Request) -> None:
        if not request.url.startswith(self._url):
            self._complain(f"asked elsewhere: {request.url}")

    def _complain(self, text: str) -> None:
        if not self._expecting or not re.search(self._expecting, text):
            self._complaints.append(text)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The module's browser."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("needs the Debian package chromium")
    with sync_playwright() as playwright:
        # /dev/shm is small in containers, and watched for what tests leave there.
        browser = playwright.chromium.launch(executable_path=path, args=["--disable-dev-shm-usage"])
        expect.set_options(timeout=DEADLINE_MS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Open dashboards whose every complaint counts."""
    complaints: list[str] = []
    with ExitStack() as stack:

        def open_page(
            url: str,
            *,
            size: tuple[int, int] = DESKTOP,
            theme: str = "light",
            expecting: str = "",
            scale: float = 1,
        ) -> Page:
            context = browser.new_context(
                viewport={"width": size[0], "height": size[1]},
                color_scheme="dark" if theme == "dark" else "light",
                device_scale_factor=scale,
                reduced_motion="reduce",
            )
            stack.callback(context.close)
            context.set_default_timeout(DEADLINE_MS)
            page = context.new_page()
            Watch(url, expecting, complaints).follow(page)
            page.goto(f"{url}/dashboard")
            return page

        yield open_page
    assert not complaints, f"the browser complained: {complaints}"


@pytest.fixture
def run_stub() -> Iterator[RunStub]:
    """Start stubs, which end after the test."""
    with ExitStack() as stack:

        def run(nodes: int = 12, *, interval_s: float = 0.25, history: int = 60) -> Stub:
            data = StubData(nodes)
            data.fill_history(time.time_ns() // 1_000_000, history)
            data.interval_s = interval_s
            return stack.enter_context(Stub(data))

        yield run
