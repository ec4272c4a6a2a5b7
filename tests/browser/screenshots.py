"""Takes the pictures of docs/dashboard.md, over the stub: `python -m tests.browser.screenshots`.

Run it where the font Inter is installed (Debian's fonts-inter): the page prefers it.
"""

import shutil
import sys
import time
from pathlib import Path

from playwright.sync_api import Browser, FloatRect, Page, expect, sync_playwright

from tests.browser.conftest import DESKTOP, PHONE
from tests.browser.stub import Stub
from tests.browser.stub_data import StubData

FOLDER = Path(__file__).parent.parent.parent / "docs" / "images"
NODES = 1_200
THEMES = ("light", "dark")
PHONE_LAST = "#waterfall"
"""The whole page would be too long to look at."""

PHONE_GAP = 12


def main() -> None:
    """Write all pictures."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    data = StubData(NODES)
    data.fill_history(time.time_ns() // 1_000_000)
    with Stub(data) as stub, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        for theme in THEMES:
            page = open_page(browser, stub.url, theme, DESKTOP)
            page.screenshot(path=FOLDER / f"dashboard-desktop-{theme}.png", full_page=True)
            page = open_page(browser, stub.url, theme, PHONE)
            last = page.locator(PHONE_LAST).bounding_box()
            assert last is not None
            height = last["y"] + last["height"] + PHONE_GAP
            clip: FloatRect = {"x": 0, "y": 0, "width": PHONE[0], "height": height}
            path = FOLDER / f"dashboard-phone-{theme}.png"
            page.screenshot(path=path, full_page=True, clip=clip)
        browser.close()
    for picture in sorted(FOLDER.glob("dashboard-*.png")):
        sys.stdout.write(f"{picture.name}: {picture.stat().st_size // 1024} KiB\n")


def open_page(browser: Browser, url: str, theme: str, size: tuple[int, int]) -> Page:
    """Return a page on which all parts are drawn."""
    page = browser.new_page(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if theme == "dark" else "light",
        reduced_motion="reduce",
    )
    page.goto(f"{url}/dashboard")
    expect(page.locator("#state")).to_have_text("Ready")
    expect(page.locator("#node-body tr").first).to_be_visible()
    expect(page.locator("#charts .uplot")).to_have_count(6)
    for part in ("#waterfall-rows tr", "#room > li", "#decisions-rows .chip", "#models .chip"):
        expect(page.locator(part).first).to_be_visible()
    page.locator("th[data-column=load] button").click()
    page.evaluate("scrollTo(0, 0)")
    page.evaluate("document.fonts.ready")
    return page


if __name__ == "__main__":
    main()
