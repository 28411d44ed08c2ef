"""A browser for tests: pages that are watched, waits for facts, axe, and what a card shows."""

import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.dashboard.scene import Scene

AXE = Path(__file__).resolve().parents[1] / "vendor" / "axe.min.js"
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or ""
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-quic",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]  # fmt: skip
WIDTHS = (320, 390, 768, 1440)
OUTSIDE = """async () => {
  const outside = () => [...document.querySelectorAll('.card, .tile')].flatMap(card => {
    const edge = card.getBoundingClientRect();
    return [...card.querySelectorAll('*')].filter(each => {
      if (each.closest('.drawing, .unseen, thead, svg')) return false;
      const box = each.getBoundingClientRect();
      return box.width > 0 && (box.right > edge.right + 0.5 || box.left < edge.left - 0.5);
    }).map(each => `${card.id || card.dataset.of}: ${each.className} ${each.textContent.slice(0, 40)}`);
  });
  for (let round = 0; round < 4 && outside().length; round += 1) await new Promise(later => setTimeout(later, 50));
  return outside();
}"""
"""What is drawn outside of its card and stays there: right after a change of the window's width, Chromium may tell the
width of before for one layout."""
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def chromium() -> str:
    """Return where the browser is; without one the test is skipped, which it says."""
    if not CHROMIUM:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    return CHROMIUM


def until(page: Page, expression: str, within_s: float = 20.0) -> None:
    """Wait until an expression is true (the page's own policy forbids the browser's way of waiting for one)."""
    for _ in range(int(within_s * 20)):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"not seen within {within_s} s: {expression}")


class Watched:
    """A page whose console, requests and reports are kept: what must not be there is asserted at the end."""

    def __init__(self, browser: Browser, width: int = 1440, height: int = 900, **choices: str) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": height}, locale="en-US")
        chosen = "".join(f"localStorage.setItem('dash-{name}', '{value}');" for name, value in choices.items())
        self.context.add_init_script(chosen)
        self.page: Page = self.context.new_page()
        self.said: list[str] = []
        self.requests: list[str] = []
        self.bytes = 0
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("response", self._weigh)

    def _weigh(self, response) -> None:
        if "/api/events" in response.url:
            return  # a stream has no size before it ends
        sizes = response.request.sizes()
        self.bytes += sizes["responseBodySize"]

    def open(self, made: Scene, path: str = "/everything") -> Page:
        """Load the page and wait until it counts."""
        self.page.goto(made.address + path)
        until(self.page, "document.querySelector('#countdown') && document.querySelector('#countdown').textContent")
        return self.page

    def chart(self) -> None:
        """Bring the chart into view and wait until it is drawn."""
        self.page.evaluate("document.querySelector('#card-chart').scrollIntoView()")
        until(self.page, "document.querySelector('#card-chart').dataset.state !== 'unknown'")
        until(self.page, "document.querySelector('#chart canvas') !== null")

    def close(self) -> None:
        """Close the page and all that it kept."""
        self.context.close()


def states(page: Page) -> dict[str, str]:
    """Return each card's state as it is marked."""
    shown = "[...document.querySelectorAll('.card:not([hidden])')]"
    return dict(page.evaluate(f"{shown}.map(e => [e.id.replace('card-', ''), e.dataset.state])"))


def _show_all(page: Page, width: int) -> None:
    """Make the window as high as its page, which may go on changing for a moment after the width did."""
    for _ in range(10):
        page.wait_for_timeout(30)
        height = page.evaluate(
            "document.documentElement.scrollHeight > innerHeight && document.documentElement.scrollHeight"
        )
        if not height:
            return
        page.set_viewport_size({"width": width, "height": height})


def violations(page: Page, contrast: bool = True) -> list[str]:
    """Return what axe finds; without ``contrast`` all but that.

    The window is as high as the page meanwhile: what a bar fixed to its lower edge covers by chance, a person scrolls.
    """
    size = page.viewport_size
    if size:
        _show_all(page, size["width"])
    if not page.evaluate("() => 'axe' in window"):
        page.context.new_cdp_session(page).send("Runtime.evaluate", {"expression": AXE.read_text()})
    found = page.evaluate(
        "async ([tags, contrast]) => (await axe.run(document, {runOnly: tags, resultTypes: ['violations'],"
        " preload: false, rules: {'color-contrast': {enabled: contrast}}})).violations.map(v => v.id + ': '"
        " + v.nodes.slice(0, 3).map(n => n.target + ' ' + n.failureSummary).join(' | '))",
        [RULES, contrast],
    )
    if size:
        page.set_viewport_size(size)
    return list(found)
