"""What all tabs share: the model and pictures above them, the result, and runs that outlive their page."""

import json
import re
from urllib.request import urlopen

import pytest

try:
    from playwright.sync_api import expect
except ImportError:
    expect = None  # the browser fixture then skips, or fails under CI

from .conftest import PATIENCE, open_tab, visited

LONG = "512"  # pictures to measure ranges on: a machine with other work takes a minute to draw them


def choose_model(page, name: str) -> None:
    page.locator("#model input").click()
    page.get_by_role("option", name=name, exact=True).click()


def begin(page) -> str:
    """A run of some seconds under way; its address."""
    page.get_by_label("Min–max", exact=True).check()
    page.locator("#calibration input").fill(LONG)
    expect(page.locator("#status")).to_contain_text("The settings changed.")
    page.locator("#quantize").click()
    page.wait_for_url(re.compile(r"\?run=\w{12}$"))
    return page.url


def test_a_run_goes_on_while_its_page_is_reloaded(page):
    begin(page)
    page.reload()
    expect(page.locator("#status .vq-busy").or_(page.locator("#status .vq-done"))).to_be_visible()
    expect(page.locator("#status .vq-done")).to_contain_text(
        "demo-vit · Min–max · W4/A4 · 512 calibration pictures", timeout=PATIENCE
    )
    expect(page.locator("#calibration input")).to_have_value(LONG)
    expect(page.locator("#quantize")).to_be_enabled()
    expect(page.locator("#cancel")).to_be_disabled()


@pytest.mark.wide
def test_a_second_device_finds_a_run_by_its_address(page, browser):
    address = begin(page)
    with visited(browser, address) as other:
        expect(other.locator("#status .vq-done")).to_contain_text("512 calibration pictures")
        expect(other.locator("#cards")).to_be_visible()


@pytest.mark.wide
def test_who_reloads_can_still_cancel(page):
    page.locator("#seed input").fill("5")  # a result that is not there already
    address = begin(page)
    page.reload()
    expect(page.locator("#cancel")).to_be_enabled()
    page.locator("#cancel").click()
    expect(page.locator("#status")).to_contain_text("Cancelled.")
    expect(page.locator("#quantize")).to_be_enabled()
    assert page.url == address


def test_one_model_for_all_tabs_and_segment_anything_has_its_own(page):
    open_tab(page, "Relevance & bits")
    choose_model(page, "Demo ViT with outliers")
    expect(page.locator("#bits-status")).to_contain_text("demo-vit-outliers")
    open_tab(page, "Activations")
    expect(page.locator("#look-cards")).to_contain_text("Rounding error")
    choose_model(page, "Demo SAM")
    expect(page.get_by_role("tab", name="Segment")).to_have_attribute("aria-selected", "true")
    expect(page.locator("#model-bar")).to_be_hidden()
    expect(page.locator("#segment-model input")).to_have_value("Demo SAM")
    open_tab(page, "Quantize")
    expect(page.locator("#model input")).to_have_value("Demo ViT with outliers")


def test_what_was_quantized_layer_by_layer_is_the_result_of_all_tabs(page):
    open_tab(page, "Relevance & bits")
    expect(page.locator("#bits-status")).to_contain_text("demo-vit")
    page.locator("#quantize-bits").click()
    expect(page.locator("#mixed-status .vq-done")).to_contain_text("mixed bits")
    open_tab(page, "Quantize")
    expect(page.locator("#status")).to_contain_text("mixed bits")


def held_back(studio: str):
    """What keeps the events of a page's loading from the server, and the list of those it holds."""
    with urlopen(f"{studio.rstrip('/')}/config") as answer:
        events = json.load(answer)["dependencies"]
    loading = {event["id"] for event in events if any(name == "load" for _, name in event["targets"])}
    held: list = []

    def hold(route) -> None:
        held.append(route) if route.request.post_data_json["fn_index"] in loading else route.continue_()

    return (lambda page: page.route(re.compile("/queue/join|/run/predict"), hold)), held


@pytest.mark.wide
def test_the_maps_are_drawn_again_where_the_result_arrives_after_them(browser, studio):
    hold, held = held_back(studio)
    with visited(browser, studio, hold) as page:
        open_tab(page, "Relevance & bits")
        expect(page.locator("#maps img")).to_have_count(2)  # the picture, and the map of full precision
        assert held
        for route in held:
            route.continue_()
        expect(page.locator("#maps img")).to_have_count(3)


def test_a_result_that_arrives_while_exports_are_open_is_the_one_to_export(browser, studio):
    hold, held = held_back(studio)
    with visited(browser, studio, hold) as page:
        open_tab(page, "Export")
        run = page.locator("#export-run input")
        expect(run).not_to_have_value("demo-vit · VitQ · W4/A4")
        assert held
        for route in held:
            route.continue_()
        expect(run).to_have_value("demo-vit · VitQ · W4/A4")
