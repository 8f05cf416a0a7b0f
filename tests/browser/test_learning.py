"""Effort as a person uses it: watch modules being learned, stop and go on, compare errors."""

import re

import pytest

from tests.widening import mostly_wide

try:
    from playwright.sync_api import expect
except ImportError:
    expect = None  # the browser fixture then skips, or fails under CI

from .conftest import assert_fits, unfold_pictures

PATIENCE = 240_000  # milliseconds: a machine with other work takes minutes to learn all modules
TITLE = "cifar10-vit · ADFQ-ViT · W4/A4 · quick effort"
ENOUGH = "16"  # pictures for quick effort
STEPS = "240"  # per module: a run is not over before a slow browser has cancelled it


def open_options(page) -> None:
    """Before anything else is chosen: Gradio forgets what is typed while a group is being set up."""
    page.get_by_text("Method's own options").click()
    expect(page.locator("#iterations textarea, #iterations input")).to_be_disabled()


def prepare(page, iterations: str) -> None:
    """The smallest model, a batch of pictures and few steps."""
    open_options(page)
    page.locator("#model input").click()
    page.get_by_role("option", name="CIFAR-10 ViT", exact=True).click()
    page.get_by_label("ADFQ-ViT", exact=True).check()
    page.locator("#effort").get_by_label("Quick", exact=True).check()
    expect(page.locator("#calibration input")).to_have_value("128")
    expect(page.locator(".vq-chosen").first).to_contain_text("Quick")  # nobody types faster than that
    page.locator("#iterations textarea, #iterations input").fill(iterations)
    page.locator("#calibration input").fill(ENOUGH)
    page.locator("#held-out input").fill("16")
    expect(page.locator(".vq-efforts").first).to_contain_text(f"{iterations} correction steps per")


@pytest.fixture
def learning(page):
    """A run of which some modules are done and many are not."""
    prepare(page, STEPS)
    page.locator("#quantize").click()
    expect(page.locator("#live .vq-tile").nth(1)).to_be_visible()
    return page


@pytest.fixture
def learned(page):
    """The studio remembers results, so that only the first test computes it."""
    prepare(page, "2")
    page.locator("#quantize").click()
    expect(page.locator("#status .vq-done")).to_contain_text(TITLE)
    return page


def test_the_form_opens_without_learning_and_says_what_that_lacks(page):
    expect(page.locator("#effort").get_by_label("None", exact=True)).to_be_checked()
    expect(page.locator(".vq-form").first).to_contain_text("only a part of this method")
    expect(page.locator(".vq-efforts").first).to_contain_text("None")
    page.locator("#effort").get_by_label("Standard", exact=True).check()
    expect(page.locator(".vq-form").first).not_to_contain_text("only a part of this method")
    expect(page.locator("#calibration input")).to_have_value("512")
    expect(page.locator(".vq-chosen").first).to_contain_text("Standard")
    page.get_by_text("Method's own options").click()
    expect(page.locator("#iterations textarea, #iterations input")).to_be_enabled()
    page.locator("#calibration input").fill("500")
    expect(page.locator("#status")).to_contain_text("The settings changed.")


def test_curves_appear_while_it_runs_and_cancel_keeps_what_is_done(learning):
    live = learning.locator("#live")
    expect(live).to_contain_text(re.compile(rf"Module \d+ of 14 · step \d+ of {STEPS} · about .* left"))
    expect(live.locator(".vq-curve polyline")).to_have_attribute("points", re.compile(r"\d"))
    learning.locator("#cancel").click()
    status = learning.locator("#status")
    expect(status).to_contain_text(re.compile(r"Stopped: \d+ of 14 modules are done"))
    expect(learning.locator("#modules-note")).to_contain_text("were not reached")
    expect(learning.locator("#live .vq-live")).to_have_count(0)
    expect(learning.locator("#download")).to_be_enabled()
    learning.locator("#gallery button.thumbnail-item").nth(1).click()
    expect(learning.locator(".vq-bars li")).to_have_count(10)
    learning.locator("#quantize").click()
    done = learning.locator("#status .vq-done").get_by_text(TITLE)
    seen = learning.locator("#live .vq-tile").nth(1).or_(done)  # what is left may be over before it is seen
    expect(seen.first).to_be_visible()
    expect(learning.locator("#status .vq-done")).to_contain_text(TITLE, timeout=PATIENCE)
    expect(learning.locator("#modules-note")).not_to_contain_text("were not reached")


def test_results_compare_every_module_before_and_after(learned):
    expect(learned.locator("#errors .js-plotly-plot")).to_be_visible()
    expect(learned.locator("#errors")).to_contain_text("blocks.5.mlp")
    expect(learned.locator("#modules-note")).to_contain_text(re.compile(r"\d+ of 14 modules improved"))
    table = learned.locator("#modules-table")
    expect(table).to_contain_text("Before %")
    expect(table).to_contain_text(re.compile("reconstructed|kept as it was"))


def test_the_number_of_pictures_follows_the_effort_unless_a_person_chose_it(page):
    count, effort = page.locator("#calibration input"), page.locator("#effort")
    for name, asked in (("Quick", "128"), ("Standard", "512"), ("None", "32"), ("Quick", "128")):
        effort.get_by_label(name, exact=True).check()
        expect(count).to_have_value(asked)
    count.fill("100")
    effort.get_by_label("Standard", exact=True).check()
    expect(page.locator(".vq-chosen").first).to_contain_text("Standard")
    expect(count).to_have_value("100")


def test_a_number_typed_while_the_server_is_busy_stays(page):
    open_options(page)
    held = []
    page.route("**/gradio_api/**", lambda request: held.append(request))
    page.locator("#effort").get_by_label("Quick", exact=True).check()
    expect(page.locator("#calibration input")).to_have_value("128")
    expect(page.locator("#iterations textarea, #iterations input")).to_be_enabled()
    page.locator("#calibration input").fill(ENOUGH)
    for request in held:
        request.continue_()
    page.unroute("**/gradio_api/**")
    expect(page.locator(".vq-chosen").first).to_contain_text("Quick")
    expect(page.locator("#calibration input")).to_have_value(ENOUGH)


@pytest.mark.wide
def test_another_effort_makes_the_result_stale(learned):
    learned.locator("#effort").get_by_label("None", exact=True).check()
    expect(learned.locator("#status")).to_contain_text("The settings changed.")
    expect(learned.locator("#iterations textarea, #iterations input")).to_be_disabled()
    learned.locator("#effort").get_by_label("Quick", exact=True).check()
    expect(learned.locator("#calibration input")).to_have_value(ENOUGH)
    expect(learned.locator("#status .vq-done")).to_contain_text(TITLE)


@pytest.mark.parametrize("wrong", mostly_wide(["0", "-3", "many"], "many"))
def test_a_wrong_number_of_steps_is_explained_beside_its_box(page, refused, wrong):
    open_options(page)
    page.locator("#effort").get_by_label("Quick", exact=True).check()
    page.locator("#iterations textarea, #iterations input").fill(wrong)
    expect(page.locator("#status")).to_contain_text("A whole number from 1 to 100000")
    refused("#quantize", "#iterations", "A whole number from 1 to 100000")
    expect(page.locator("#quantize")).to_be_enabled()


def test_a_phone_is_shown_what_was_refused(page):
    page.set_viewport_size({"width": 390, "height": 844})
    unfold_pictures(page)
    page.locator("#effort").get_by_label("Quick", exact=True).check()
    expect(page.locator("#calibration input")).to_have_value("128")
    page.locator("#calibration input").fill("7")
    expect(page.locator("#status")).to_contain_text("Check the settings.")
    page.evaluate("scrollTo(0, 0)")
    expect(page.locator("#status")).not_to_be_in_viewport()
    page.locator("#quantize").click()
    expect(page.locator("#status")).to_be_in_viewport()


def test_too_few_pictures_for_the_effort_are_explained(page):
    page.locator("#effort").get_by_label("Quick", exact=True).check()
    expect(page.locator("#calibration input")).to_have_value("128")
    page.locator("#calibration input").fill("7")
    expect(page.locator("#status")).to_contain_text("Quick effort learns from 8 pictures at a time")


@pytest.mark.wide
def test_a_phone_shows_that_it_works_and_needs_no_sideways_scrolling(page):
    page.set_viewport_size({"width": 390, "height": 844})
    unfold_pictures(page)
    prepare(page, "2")
    page.evaluate("scrollTo(0, 0)")
    expect(page.locator("#status")).not_to_be_in_viewport()
    page.locator("#quantize").click()
    expect(page.locator("#status")).to_be_in_viewport()
    expect(page.locator("#errors .js-plotly-plot")).to_be_visible()
    assert_fits(page)
