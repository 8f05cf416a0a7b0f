"""The page of all runs as a person uses it: try all bits, reload meanwhile, look, open, afford."""

import re

import pytest

try:
    from playwright.sync_api import expect
except ImportError:
    expect = None  # the browser fixture then skips, or fails under CI

from .conftest import assert_fits, open_tab

PICTURES = "16"


@pytest.fixture
def tab(page):
    open_tab(page, "Trade-offs")
    expect(page.locator("#tradeoffs-status")).to_be_visible()
    return page


def choose(page, box: str, name: str) -> None:
    page.locator(f"{box} input").click()
    page.get_by_role("option", name=name, exact=True).click()


@pytest.fixture
def swept(tab):
    """The server remembers runs, so that only the first test makes them."""
    choose(tab, "#tradeoffs-method", "Min–max")
    tab.locator("#held-out input").fill(PICTURES)
    tab.locator("#tradeoffs-bits-sweep").click()
    expect(tab.locator("#tradeoffs-status")).to_contain_text("5 of 5 runs done")
    return tab


def test_a_sweep_goes_on_while_the_page_is_reloaded_and_fills_the_chart(tab):
    choose(tab, "#tradeoffs-method", "Percentile")
    tab.locator("#held-out input").fill(PICTURES)
    tab.locator("#tradeoffs-bits-sweep").click()
    expect(tab.locator("#tradeoffs-status")).to_contain_text("All bits of demo-vit")
    tab.reload()
    open_tab(tab, "Trade-offs")
    expect(tab.locator("#tradeoffs-status")).to_contain_text("All bits of demo-vit: 5 of 5 runs done")
    expect(tab.locator("#tradeoffs-plot .js-plotly-plot")).to_be_visible()
    expect(tab.locator("#tradeoffs-table")).to_contain_text("Percentile")


def test_a_run_is_looked_at_compared_and_opened_where_it_was_made(swept):
    for bits in ("W4/A4", "W3/A3"):
        name = f"demo-vit · Min–max · {bits}"
        swept.locator("#tradeoffs-table").get_by_text(name, exact=True).first.click()
        expect(swept.locator("#tradeoffs-name").locator("input, textarea")).to_have_value(name)
    expect(swept.locator("#tradeoffs-details")).to_contain_text("Run it again")
    expect(swept.locator("#tradeoffs-details thead th")).to_have_count(3)
    swept.locator("#tradeoffs-open").click()
    expect(swept.get_by_role("tab", name="Quantize")).to_have_attribute("aria-selected", "true")
    expect(swept.locator("#status")).to_contain_text("demo-vit · Min–max · W3/A3")
    expect(swept.locator("#weight-bits input[type=number]")).to_have_value("3")


@pytest.mark.wide
def test_a_budget_shows_its_bits_and_is_checked_by_a_run(swept):
    swept.locator("#afford").click()
    expect(swept.locator("#afford-status")).to_contain_text("the layers are measured")
    expect(swept.locator("#afford-cards .vq-card")).to_have_count(4)
    expect(swept.locator("#afford-weights .js-plotly-plot")).to_be_visible()
    slider = swept.locator("#afford-size input[type=range]")
    slider.focus()
    slider.press("Home")
    expect(swept.locator("#afford-cards")).to_contain_text(re.compile(r"2\.00 / 2\.\d\d"))
    swept.locator("#afford-check").click()
    expect(swept.locator("#tradeoffs-status")).to_contain_text(
        re.compile(r"demo-vit within .* MB: 1 of 1 run done")
    )


@pytest.mark.parametrize("size", [(1360, 900), (390, 800)])
def test_nothing_is_wider_than_the_page(page, size):
    page.set_viewport_size({"width": size[0], "height": size[1]})
    open_tab(page, "Trade-offs")
    expect(page.locator("#tradeoffs-plot")).to_be_visible()
    assert_fits(page)
