"""For everybody: what axe-core finds on every page, what a keyboard reaches, and what a phone shows."""

import itertools
import re
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.widening import mostly_wide

try:
    from playwright.sync_api import expect
except ImportError:
    expect = None  # the browser fixture then skips, or fails under CI
try:
    from axe_playwright_python.sync_playwright import Axe
except ImportError:
    Axe = None

from .conftest import FEW_SECONDS, assert_fits, missing, open_tab, settle, visited

TABS = ("Quantize", "Trade-offs", "Activations", "Relevance & bits", "Segment", "Export")
READY = {  # what is there once a tab has been filled
    "Quantize": "#gallery img",
    "Trade-offs": "#tradeoffs-plot .js-plotly-plot",
    "Activations": "#look-ranges .js-plotly-plot",
    "Relevance & bits": "#maps .vq-full img",
    "Segment": "#segment-canvas img.vq-shown",
    "Export": "#export-run input",
}
SEEDS = itertools.count(1)
WIDE, PHONE = (1280, 800), (390, 844)
SCREENS = [  # size, theme, and whether everything that is folded away is opened
    (WIDE, "light", False),
    (WIDE, "dark", True),
    (PHONE, "light", True),
    (PHONE, "dark", False),
]
TALLEST = {  # pixels of a tab on a phone, with the runs of the tests before
    "Quantize": 4500, "Trade-offs": 2800, "Activations": 2400, "Relevance & bits": 5600, "Segment": 4400,
    "Export": 1400,
}  # fmt: skip
# On top of axe's own choice: who speaks to a computer presses what is written on a button.
RULES = {"label-content-name-mismatch": {"enabled": True}}
# What has the focus: the radios it belongs to, and what covers it, if anything does.
FOCUSED = """() => {
    const focused = document.activeElement, box = focused.getBoundingClientRect()
    const seen = (x, y) => {
        const top = document.elementFromPoint(x, y)
        const own = [focused, ...(focused.labels ?? [])]
        return own.some((each) => each.contains(top)) || top?.contains(focused)
    }
    const [x, y] = [box.x + box.width / 2, box.y + box.height / 2]
    return {
        name: (focused.getAttribute('aria-label') || focused.innerText || focused.value || '').trim(),
        body: focused === document.body,
        group: focused.type === 'radio' ? focused.closest('fieldset').id : null,
        seen: seen(x, y) && box.top >= 0 && box.bottom <= innerHeight + 1,
    }
}"""
# Of every plot in sight; one that was just opened is empty until it is drawn.
ALL_LABELLED = """() => [...document.querySelectorAll('.js-plotly-plot')].every((plot) => {
    if (!plot.checkVisibility()) return true
    const frame = plot.getBoundingClientRect()
    const inside = (text) => {
        const box = text.getBoundingClientRect()
        return box.width > 0 && box.left >= frame.left - 1 && box.right <= frame.right + 1
            && box.top >= frame.top - 1 && box.bottom <= frame.bottom + 1
    }
    const said = (selector) => [...plot.querySelectorAll(selector)].filter(inside).length > 0
    return said('.xtitle, .xaxislayer-above text') && said('.ytitle, .yaxislayer-above text')
})"""


@pytest.fixture(scope="module")
def screens(browser, studio: str) -> Iterator:
    """Opens a tab on a screen; a screen that was opened before is used again."""
    opened = {}
    with ExitStack() as stack:

        def show(tab: str, size: tuple[int, int], theme: str = "light"):
            if (size, theme) not in opened:
                viewport = {"width": size[0], "height": size[1]}
                page = visited(browser, f"{studio}?__theme={theme}", viewport=viewport)
                opened[size, theme] = stack.enter_context(page)
            page = opened[size, theme]
            open_tab(page, tab)
            expect(page.locator(READY[tab]).first).to_be_visible()
            return page

        yield show


@pytest.fixture
def phone(browser, studio: str) -> Iterator:
    """A page of its own that is touched."""
    size = {"width": PHONE[0], "height": PHONE[1]}
    with visited(browser, studio, viewport=size, has_touch=True, is_mobile=True) as page:
        expect(page.locator(READY["Quantize"]).first).to_be_visible()
        yield page


def assert_usable(page) -> None:
    """Nothing that axe calls serious or critical."""
    if Axe is None:
        missing("axe-playwright-python is not installed")
    settle(page)
    found = Axe().run(page, options={"resultTypes": ["violations"], "rules": RULES}).response["violations"]
    said = [
        f"{rule['id']}: {node['target']} {node['failureSummary']}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]
    assert not said, "\n".join(said)


def method(page, name: str):
    return page.locator("#recipe").get_by_label(name, exact=True)


def open_everything(page) -> None:
    """Every accordion in sight."""
    closed = page.locator("button.label-wrap:visible:not(.open)")
    while closed.count():
        closed.first.click()


def run_quickly(page) -> None:
    """A run of a second or two that nobody has made yet, by keyboard."""
    method(page, "Min–max").check()
    page.locator("#seed input").fill(str(next(SEEDS)))
    page.locator("#calibration input").fill("8")
    page.locator("#held-out input").fill("32")
    expect(page.locator("#status")).to_contain_text("The settings changed.")
    page.locator("#quantize").focus()
    page.keyboard.press("Enter")


@pytest.mark.parametrize("tab", TABS)
@pytest.mark.parametrize(("size", "theme", "opened"), mostly_wide(SCREENS, *SCREENS[:3]))
def test_axe_finds_nothing_serious(screens, size, theme, opened, tab):
    page = screens(tab, size, theme)
    if opened:
        open_everything(page)
    assert_usable(page)


@pytest.mark.parametrize("theme", mostly_wide(["light", "dark"], "light"))
def test_axe_finds_nothing_serious_in_a_list_an_error_and_a_finished_run(screens, theme):
    page = screens("Quantize", WIDE, theme)
    settle(page)
    page.locator("#calibration input").fill("0")
    expect(page.locator("#status .vq-error")).to_be_visible()
    page.wait_for_timeout(FEW_SECONDS)  # late answers about this box would wipe what is said beside it
    page.locator("#quantize").click()
    expect(page.locator("#calibration div.validation-error")).to_be_visible()
    page.locator("#model input").click()
    expect(page.get_by_role("listbox")).to_be_visible()
    assert_usable(page)
    page.keyboard.press("Escape")
    expect(page.get_by_role("listbox")).to_be_hidden()
    page.locator("#calibration input").focus()  # what is said there goes, and all below moves up
    run_quickly(page)
    expect(page.locator("#status .vq-done")).to_contain_text("Min–max")
    assert_usable(page)
    method(page, "VitQ").check()
    expect(page.locator("#status .vq-stale")).to_be_visible()
    assert_usable(page)
    page = screens("Trade-offs", WIDE, theme)
    expect(page.locator("#tradeoffs-table")).to_contain_text("Min–max")
    assert_usable(page)


@pytest.mark.parametrize(
    ("tab", "size"), [*((tab, PHONE) for tab in TABS), ("Quantize", WIDE), ("Segment", WIDE)]
)
def test_tab_stops_once_at_each_group_of_radios_and_never_behind_a_bar(screens, size, tab):
    page = screens(tab, size)
    page.evaluate("scrollTo(0, 0)")
    bar = page.locator("#model input")
    (bar if bar.is_visible() else page.get_by_role("tab", name=tab, exact=True)).focus()
    there = walk(page, "Tab")
    back = walk(page, "Shift+Tab", len(there))
    groups = page.locator("fieldset:visible:has(input[type=radio])")
    expected = groups.evaluate_all("(groups) => groups.map((group) => group.id)")
    for stops in (there, back):
        assert [stop["name"] for stop in stops if not stop["seen"]] == []
        assert sorted(stop["group"] for stop in stops if stop["group"]) == sorted(expected)


def walk(page, key: str, most: int = 150) -> list[dict]:
    """Every stop until the page ends."""
    stops = []
    while len(stops) < most:
        page.keyboard.press(key)
        stop = page.evaluate(FOCUSED)
        if stop["body"]:
            break
        stops.append(stop)
    return stops


def test_arrow_keys_choose_within_a_group(screens):
    page = screens("Quantize", PHONE)
    method(page, "VitQ").check()
    method(page, "VitQ").focus()
    page.keyboard.press("ArrowUp")
    expect(method(page, "ADFQ-ViT")).to_be_checked()
    expect(method(page, "ADFQ-ViT")).to_be_focused()
    expect(page.locator("#status")).to_contain_text("The settings changed.")
    page.keyboard.press("ArrowDown")
    expect(method(page, "VitQ")).to_be_checked()
    expect(page.get_by_role("radiogroup", name="Method")).to_be_visible()


def test_a_list_closes_on_tab(screens):
    page = screens("Activations", WIDE)
    settle(page)
    page.locator("#look-method input").focus()
    expect(page.get_by_role("listbox")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("listbox")).to_have_count(0)
    page.wait_for_timeout(300)  # Gradio opened it again a moment later
    expect(page.get_by_role("listbox")).to_have_count(0)
    expect(page.locator("#look-bits :focus")).to_have_count(1)


def test_pictures_are_one_stop_and_arrow_keys_go_from_one_to_the_next(screens):
    page = screens("Quantize", WIDE)
    pictures = page.locator("#gallery .thumbnail-item")
    page.locator("#report").focus()
    page.keyboard.press("Tab")
    expect(pictures.nth(0)).to_be_focused()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    expect(pictures.nth(4)).to_be_focused()  # three in a row
    page.keyboard.press("Enter")
    expect(page.locator("#gallery .thumbnail-item.selected")).to_have_attribute(
        "aria-label", re.compile(r", 5 of \d+")
    )
    page.keyboard.press("Tab")
    expect(page.locator("#photographs .thumbnail-item").nth(0)).to_be_focused()
    page.keyboard.press("Shift+Tab")
    expect(pictures.nth(4)).to_be_focused()


def test_the_focus_waits_for_the_run_and_comes_back(page):
    expect(page.locator(READY["Quantize"]).first).to_be_visible()
    run_quickly(page)
    expect(page.locator("#quantize")).to_be_disabled()
    expect(page.locator(".vq-actions:has(#quantize)")).to_be_focused()
    page.keyboard.press("Enter")  # held too long, it must not press Cancel
    page.keyboard.press("Tab")
    expect(page.locator("#cancel")).to_be_focused()
    expect(page.locator("#status .vq-done")).to_contain_text("Min–max")
    expect(page.locator("#quantize")).to_be_focused()


@pytest.mark.wide
def test_who_looks_elsewhere_meanwhile_is_not_called_back(screens):
    page = screens("Quantize", WIDE, "dark")
    run_quickly(page)
    page.locator("#seed input").focus()
    expect(page.locator("#status .vq-done")).to_contain_text("Min–max")
    expect(page.locator("#quantize")).to_be_enabled()
    expect(page.locator("#seed input")).to_be_focused()


@pytest.mark.parametrize("tab", TABS)
def test_a_phone_shows_every_tab_without_endless_scrolling(screens, tab):
    page = screens(tab, PHONE, "dark")
    assert_fits(page, TALLEST[tab])
    for name in TABS:
        expect(page.get_by_role("tab", name=name, exact=True)).to_be_visible()


def test_a_tapped_picture_shows_the_answer(phone):
    for pictures in ("#gallery", "#photographs"):
        before = phone.locator("#verdict").inner_text()
        phone.locator(f"{pictures} button.thumbnail-item").nth(1).tap()
        expect(phone.locator("#verdict")).not_to_have_text(re.compile(re.escape(before.strip())))
        expect(phone.locator("#verdict")).to_be_in_viewport(ratio=1)
        expect(phone.locator("#bars")).to_be_in_viewport(ratio=1)


@pytest.mark.parametrize("tab", ["Quantize", "Trade-offs", "Activations", "Relevance & bits"])
def test_plots_say_on_a_phone_what_their_axes_are(screens, tab):
    page = screens(tab, PHONE)
    open_everything(page)
    expect(page.locator(".js-plotly-plot:visible").first).to_be_visible()
    page.wait_for_function(ALL_LABELLED)


def test_a_long_name_ends_before_the_arrow_of_its_list(screens):
    name = screens("Activations", PHONE).locator("#look-site")
    expect(name.locator("input")).to_have_value(re.compile("patch embedding"))
    end = name.locator("input").evaluate(
        "(box) => box.getBoundingClientRect().right - parseFloat(getComputedStyle(box).paddingRight)"
    )
    assert end <= name.locator(".dropdown-arrow").bounding_box()["x"]
