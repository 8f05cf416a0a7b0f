"""The page of relevance and bits as a person uses it: score, give out bits, edit, quantize, look."""

import json
import re
from pathlib import Path

import pytest
from PIL import Image

try:
    from playwright.sync_api import expect
except ImportError:
    expect = None  # the browser fixture then skips, or fails under CI

from .conftest import assert_fits, open_tab, visited

CARD = "#costs .vq-card"


def explained(page):
    """With a table to edit and a picture explained by both models of the stored result: what the first visit
    prepares."""
    open_tab(page, "Relevance & bits")
    expect(page.locator("#bits-table")).to_be_visible()
    expect(page.locator("#maps img")).to_have_count(3)
    return page


@pytest.fixture
def tab(page):
    return explained(page)


def score(tab) -> None:
    """The server remembers scores, so that only the first time computes them."""
    tab.locator("#score").click()
    expect(tab.locator("#score-status")).to_contain_text("demo-vit · relevance · 64 pictures")
    expect(tab.locator("#importance-map .js-plotly-plot")).to_be_visible()


@pytest.fixture(scope="module")
def scored(kept_page):
    """For several tests; the last of them chooses another model."""
    score(explained(kept_page))
    return kept_page


@pytest.fixture(scope="module")
def quantized(browser, studio):
    """For several tests."""
    with visited(browser, studio) as page:
        quantize(explained(page))
        yield page


def quantize(tab) -> None:
    tab.locator("#quantize-bits").click()
    expect(tab.locator("#mixed-status")).to_contain_text("demo-vit · LRP-QViT · mixed bits")
    expect(tab.locator("#mixed-cards .vq-card")).to_have_count(6)
    changed = re.search(r"\d+ of 256 answers changed", tab.locator("#mixed-cards").inner_text()).group()
    expect(tab.locator("#relevance-note")).to_contain_text(changed)  # the pictures are this result's by now
    expect(tab.locator("#maps img")).to_have_count(3)


def cell(page, row: int, column: int):
    return page.locator(f"#bits-table [data-testid=cell-{row}-{column}]")


def edit(page, row: int, column: int, text: str) -> None:
    cell(page, row, column).dblclick()
    expect(cell(page, row, column).locator("textarea, input")).to_be_focused()
    page.keyboard.press("Control+A")
    page.keyboard.type(text)
    page.keyboard.press("Enter")


def upload(page, button: str, path: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.locator(button).click()
    chooser.value.set_files(path)


def number(page, place: int) -> str:
    return page.locator(f"{CARD} .vq-value").nth(place).inner_text()


def test_opens_with_bits_to_edit_and_a_picture_explained(tab):
    expect(cell(tab, 1, 1)).to_have_text("4/4")
    expect(tab.locator(CARD)).to_have_count(4)
    expect(tab.locator("#weight-map .js-plotly-plot")).to_be_visible()
    expect(tab.locator("#score-empty")).to_be_visible()
    expect(tab.locator("#maps")).to_contain_text("Quantized")
    expect(tab.locator("#maps-divider")).to_be_visible()
    expect(tab.locator("#relevance-fill-stop")).to_be_hidden()
    tab.locator("#relevance-fill").click()
    expect(tab.locator("#relevance-fill-stop")).to_be_hidden()


def test_scores_are_a_map_with_their_certainty_and_a_file(scored):
    expect(scored.locator("#certainty")).to_contain_text(re.compile(r"After 64 pictures, .* ±\d+ %"))
    expect(scored.locator("#importance-map")).to_contain_text("blocks.7")
    with scored.expect_download() as download:
        scored.locator("#scores-download").click()
    scores = json.loads(Path(download.value.path()).read_text())
    assert len(scores["layer_scores"]) == 50


@pytest.mark.wide
def test_changed_settings_mark_the_scores_as_stale(scored):
    scored.locator("#relevance-scored input").fill("32")
    expect(scored.locator("#score-status")).to_contain_text("The settings changed.")
    scored.locator("#relevance-scored input").fill("0")
    expect(scored.locator("#score-status")).to_contain_text("Pictures to score with: A whole number")
    scored.locator("#relevance-scored input").fill("64")
    expect(scored.locator("#score-status")).to_contain_text("demo-vit · relevance · 64 pictures")


def test_the_papers_policy_raises_the_first_blocks(scored):
    scored.locator("#allocate").click()
    expect(scored.locator("#bits-status")).to_contain_text("demo-vit · As in LRP-QViT")
    expect(cell(scored, 1, 1)).to_have_text("5/5")
    expect(scored.locator(CARD).first).to_contain_text("W4/A4 everywhere: 4.00")


@pytest.mark.wide
def test_a_policy_without_scores_says_what_it_needs(tab):
    tab.locator("#allocate").click()
    expect(tab.locator("#bits-status")).to_contain_text("This rule needs scores")
    expect(tab.locator("#allocate")).to_be_enabled()


def test_an_edited_cell_changes_the_numbers_at_once(tab):
    expect(tab.locator(f"{CARD} .vq-value").first).to_have_text("4.00")
    edit(tab, 2, 5, "8/8")
    expect(tab.locator("#bits-status")).to_contain_text("demo-vit · by hand")
    expect(tab.locator(f"{CARD} .vq-value").first).to_have_text("4.16")
    with tab.expect_download() as download:
        tab.locator("#bits-download").click()
    assert json.loads(Path(download.value.path()).read_text())["blocks.1.mlp.fc1"] == [8, 8]


def test_a_bad_cell_is_named_and_can_be_mended(tab):
    edit(tab, 2, 5, "9/4")
    expect(tab.locator("#bits-status")).to_contain_text("blocks.1 mlp.fc1: write weight/activation bits")
    expect(tab.locator("#bits-download")).to_be_disabled()
    tab.locator("#quantize-bits").click()
    expect(tab.locator("#mixed-status")).to_contain_text("blocks.1 mlp.fc1")
    edit(tab, 2, 5, "4/4")
    expect(tab.locator("#bits-status")).to_contain_text("by hand")
    expect(tab.locator("#bits-download")).to_be_enabled()


@pytest.mark.wide
def test_many_cells_are_set_at_once(tab):
    tab.locator("#many-bits input").fill("3/6")
    tab.locator("#many-set").click()
    expect(cell(tab, 1, 1)).to_have_text("3/6")
    expect(cell(tab, 1, 2)).to_have_text("6")
    expect(tab.locator(f"{CARD} .vq-value").first).to_have_text("3.00")


def test_an_impossible_budget_names_the_nearest_and_a_possible_one_is_kept(tab, refused):
    score(tab)
    tab.get_by_label("Within limits", exact=True).check()
    refused("#allocate", "#avg-weight-bits", "Give at least one limit.")
    tab.locator("#size-mb input").fill("0.1")
    tab.locator("#allocate").click()
    expect(tab.locator("#bits-status")).to_contain_text(
        "Size (MB): 0.1 is too small. At 2 bits everywhere this model comes to"
    )
    tab.locator("#size-mb input").fill("2.5")
    tab.locator("#allocate").click()
    expect(tab.locator("#bits-status")).to_contain_text("demo-vit · Within limits")
    assert float(number(tab, 2).removesuffix(" MB")) <= 2.5


@pytest.mark.wide
def test_a_table_that_does_not_fit_is_refused_with_a_sentence(tab, tmp_path):
    (tmp_path / "bits.json").write_text('{"blocks.0.attn.qkv": [4, 4]}')
    upload(tab, "#bits-upload", tmp_path / "bits.json")
    expect(tab.locator("#bits-status")).to_contain_text("lacks 49 of the model's 50 layers")
    (tmp_path / "notes.json").write_text("no table")
    upload(tab, "#bits-upload", tmp_path / "notes.json")
    expect(tab.locator("#bits-status")).to_contain_text("This file is damaged or not JSON")
    upload(tab, "#scores-upload", tmp_path / "bits.json")
    expect(tab.locator("#score-status")).to_contain_text("this is not stored importance")
    expect(tab.locator("#costs")).to_be_visible()


def test_quantizes_with_exactly_these_bits(quantized):
    cards = quantized.locator("#mixed-cards .vq-card")
    expect(cards.nth(2)).to_contain_text(re.compile(r"\d+ of 256 answers changed"))
    expect(cards.nth(3)).to_contain_text("4 / 4.04")
    button = quantized.locator("#mixed-download")
    expect(button).to_be_enabled()
    with quantized.expect_download() as download:
        button.click()
    assert download.value.suggested_filename == "demo-vit-lrp-mixed.zip"


@pytest.mark.wide
def test_other_bits_mark_the_result_as_stale(quantized):
    edit(quantized, 2, 5, "8/8")
    expect(quantized.locator("#mixed-status")).to_contain_text("Bits or settings changed.")
    edit(quantized, 2, 5, "4/4")
    expect(quantized.locator("#mixed-status")).to_contain_text("demo-vit · LRP-QViT · mixed bits")


def test_both_models_explain_a_picture_with_either_map(quantized):
    expect(quantized.locator("#relevance-verdict")).to_contain_text("Likeness patch by patch")
    picture = quantized.locator("#relevance-gallery button.thumbnail-item").nth(5)
    said = picture.inner_text().strip().split(" → ")
    picture.click()
    expect(quantized.locator("#maps .vq-full figcaption")).to_contain_text(said[0])
    quantized.get_by_label("map of pixels", exact=True).check()
    expect(quantized.locator("#relevance-verdict")).to_contain_text("Likeness pixel by pixel")
    expect(quantized.locator(".vq-cold")).to_be_visible()
    quantized.locator("#target input").click()
    quantized.get_by_role("option", name="umbrella", exact=True).click()
    expect(quantized.locator("#maps .vq-quantized figcaption")).to_contain_text("umbrella")


@pytest.mark.wide
def test_an_uploaded_picture_is_explained_and_a_text_is_refused(tab, tmp_path):
    (tmp_path / "notes.png").write_text("not a picture")
    tab.locator("#relevance-picture input[type=file]").set_input_files(tmp_path / "notes.png")
    expect(tab.locator("#relevance-verdict")).to_contain_text("notes.png is not a picture")
    Image.effect_mandelbrot((300, 200), (-2, -1.2, 1, 1.2), 60).convert("RGB").save(tmp_path / "holiday.jpg")
    tab.locator("#relevance-picture input[type=file]").set_input_files(tmp_path / "holiday.jpg")
    expect(tab.locator("#relevance-verdict")).to_contain_text("holiday.jpg")
    expect(tab.locator("#maps img")).to_have_count(3)


def test_another_model_gets_a_page_of_its_own(scored):
    scored.locator("#model input").click()
    scored.get_by_role("option", name="CIFAR-10 ViT", exact=True).click()
    expect(scored.locator("#bits-status")).to_contain_text("cifar10-vit · Same everywhere")
    expect(scored.locator("#score-status")).to_contain_text("Not scored yet.")
    expect(scored.locator("#scores")).to_have_count(0)
    expect(cell(scored, 7, 7)).to_have_text("4/4")


def test_cancel_keeps_what_was_gathered(tab):
    tab.locator("#relevance-scored input").fill("1024")
    tab.locator("#score").click()
    expect(tab.locator("#score-cancel")).to_be_enabled()
    tab.locator("#score-cancel").click()
    expect(tab.locator("#score-status")).to_contain_text("What was gathered is kept")
    expect(tab.locator("#score")).to_be_enabled()
    expect(tab.locator("#score-empty")).to_be_visible()


def test_a_phone_needs_no_sideways_scrolling(page):
    page.set_viewport_size({"width": 390, "height": 844})
    explained(page)
    page.locator("#score").click()
    expect(page.locator("#importance-map .js-plotly-plot")).to_be_visible()
    expect(page.locator("#act-map")).to_be_hidden()  # the table says the same
    page.get_by_text("The bits as maps").click()
    drawn = page.locator("#act-map .main-svg").first
    expect(drawn).to_be_visible()
    page.wait_for_function("(svg) => svg.getBoundingClientRect().right <= 390", arg=drawn.element_handle())
    assert_fits(page, 6500)
