"""A word of the field is explained to mice, keyboards and fingers alike."""

import pytest

from ui.parts.glossary import TERMS

from .conftest import visited

try:
    from playwright.sync_api import expect
except ImportError:
    expect = None  # the browser fixture then skips, or fails under CI

WEIGHTS = next(term.sentence for term in TERMS if term.name == "weights")
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


def word_and_box(page):
    """A word in the form, and the one box for sentences."""
    word = page.locator(".vq-form:visible .vq-word", has_text="weights").first
    expect(word).to_have_accessible_description(WEIGHTS)
    box = page.locator(".vq-meaning")
    expect(box).to_have_count(1)  # the page's script listens by now
    expect(box).to_be_hidden()
    return word, box


def test_pointing_at_a_word_shows_its_sentence_until_the_pointer_leaves(page):
    word, box = word_and_box(page)
    word.hover()
    expect(box).to_have_text(WEIGHTS)
    expect(box).to_be_in_viewport(ratio=1)
    box.hover()
    expect(box).to_be_visible()
    page.locator("h1").hover()
    expect(box).to_be_hidden()


def test_a_word_is_reached_by_the_keyboard_and_escape_puts_its_sentence_away(page):
    word, box = word_and_box(page)
    page.locator("#recipe input:checked").focus()
    page.keyboard.press("Tab")
    expect(word).to_be_focused()
    expect(box).to_have_text(WEIGHTS)
    page.keyboard.press("Escape")
    expect(box).to_be_hidden()
    expect(word).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_tap_on_a_phone_shows_the_sentence_within_the_screen(browser, studio, scheme):
    with visited(browser, studio, color_scheme=scheme, **PHONE) as page:
        word, box = word_and_box(page)
        word.tap()
        expect(box).to_have_text(WEIGHTS)
        expect(box).to_be_in_viewport(ratio=1)
        colours = box.evaluate("box => [getComputedStyle(box).color, getComputedStyle(box).backgroundColor]")
        assert len(set(colours)) == 2 and "rgba(0, 0, 0, 0)" not in colours
        page.locator("h1").tap()
        expect(box).to_be_hidden()
