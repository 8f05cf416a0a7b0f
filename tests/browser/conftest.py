"""The real studio in a subprocess and a real Chromium looking at it."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.server import serving

CHROMIUM = os.environ.get("VITQ_CHROMIUM", "/usr/bin/chromium")
ARGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE = 120_000  # milliseconds an assertion or a click keeps trying: test machines can be slow
FEW_SECONDS = 5_000  # milliseconds until something else is tried
SETTLED = """() => !document.querySelector('.pending, .generating')
    && document.getAnimations().every(
        (each) => each.playState !== 'running' || each.effect.getComputedTiming().iterations === Infinity)"""
FITS = """([width, height]) => {
    const page = document.documentElement
    return page.scrollWidth <= width && page.scrollHeight <= height
}"""
LISTEN = """([box, sentence]) => {
    window.wasSaid = false
    const place = document.querySelector(box)
    const look = () => { window.wasSaid ||= place.textContent.includes(sentence) }
    new MutationObserver(look).observe(place, {childList: true, characterData: true, subtree: true})
}"""


def missing(reason: str) -> None:
    """Skips with the reason; under CI a missing browser is a failure, since nobody would notice the skip."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def browser() -> Iterator:
    try:
        from playwright.sync_api import expect, sync_playwright
    except ImportError:
        missing("playwright is not installed")
    if not Path(CHROMIUM).exists():
        missing(f"no browser at {CHROMIUM}; install Debian's chromium or set VITQ_CHROMIUM")
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def studio(browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running studio. It needs `browser`, so that nothing is started where there is none."""
    log = tmp_path_factory.mktemp("studio") / "log"
    with started(["app.py"], tmp_path_factory.mktemp("home"), log) as url:
        yield url


def open_tab(page, name: str) -> None:
    """A page on which not all tabs have room keeps the others behind a button, once it has measured them."""
    from playwright.sync_api import TimeoutError as TooLate

    tab, more = page.get_by_role("tab", name=name, exact=True), page.get_by_label("More tabs")
    hidden = page.locator(".overflow-dropdown").get_by_role("button", name=name, exact=True)
    expected = time.monotonic() + PATIENCE / 1000
    while True:
        try:
            if tab.count():
                return tab.click(timeout=FEW_SECONDS)
            more.click(timeout=FEW_SECONDS)
            return hidden.click(timeout=FEW_SECONDS)
        except TooLate:
            if time.monotonic() > expected:
                raise


def settle(page) -> None:
    """Wait until nothing on it is awaited or moves: what moves under a click is not clicked."""
    page.wait_for_function(SETTLED)


def assert_fits(page, most_height: int | None = None) -> None:
    """Nothing is wider than the screen, nor the page taller than so many pixels, once all has found its
    place: a plot is drawn first and given the room it has afterwards."""
    settle(page)
    page.wait_for_function(FITS, arg=[page.viewport_size["width"], most_height or 1e9])


def unfold_pictures(page) -> None:
    """On a phone the page's script folds them away as soon as it has met them."""
    page.locator("#model-data[data-met]").wait_for()
    folded = page.locator("#model-data .label-wrap:not(.open)")
    if folded.count():
        folded.click()


def quantize_two_pictures(page, name: str) -> None:
    """By Min–max, until the result of the model that the page calls `name` is there."""
    from playwright.sync_api import expect

    unfold_pictures(page)
    for box in ("#calibration", "#held-out"):
        page.locator(f"{box} input").fill("2")
    page.locator("#recipe").get_by_text("Min–max", exact=True).click()
    settle(page)
    page.locator("#quantize").click()
    expect(page.locator("#status .vq-done").filter(has_text=f"{name} · Min–max")).to_be_visible()


@contextmanager
def started(command: list[str], home: Path, log: Path) -> Iterator[str]:
    """The address of a studio that runs meanwhile; what it prints is in `log`."""
    with serving(command, home, log) as server:
        yield server.url


@pytest.fixture
def page(browser, studio: str) -> Iterator:
    """The studio's page on a wide screen, loaded; a script error or a request to elsewhere fails the test."""
    with visited(browser, studio) as page:
        yield page


@pytest.fixture(scope="module")
def kept_page(browser, studio: str) -> Iterator:
    """As `page`, for tests of one module that leave each other what they need; loading one takes seconds."""
    with visited(browser, studio) as page:
        yield page


@contextmanager
def visited(browser, url: str, before: Callable = lambda page: None, **settings) -> Iterator:
    """A visitor's page. `before(page)`: called before it is loaded. `settings`: of the browser's context,
    such as its size and whether it is touched."""
    context = browser.new_context(**{"viewport": {"width": 1440, "height": 1000}, **settings})
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(f"script error: {error}"))
    own = url.partition("?")[0]
    page.on("request", lambda request: is_ours(request.url, own) or wrong.append(f"asks for {request.url}"))
    before(page)
    page.goto(url)
    yield page
    context.close()
    assert not wrong, wrong


@pytest.fixture
def refused(page):
    """Presses a button once and waits until `box` said why it does not work.

    Gradio wipes that again when an event that was asked before, and reads this box, is answered late.
    """

    def press(button: str, box: str, sentence: str) -> None:
        page.locator(box).wait_for(state="visible")  # the choice that shows it may not be answered yet
        page.evaluate(LISTEN, [box, sentence])
        page.locator(button).click()
        page.wait_for_function("window.wasSaid")

    return press


def is_ours(url: str, studio: str) -> bool:
    return url.startswith((studio, "data:", "blob:"))
