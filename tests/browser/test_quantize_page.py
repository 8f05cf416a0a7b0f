"""The first page as a person uses it: pick, quantize, compare, upload, cancel."""

import re
from pathlib import Path

import pytest
from PIL import Image

from tests.widening import mostly_wide

try:
    from playwright.sync_api import expect
except ImportError:
    expect = None  # the browser fixture then skips, or fails under CI

from .conftest import assert_fits, settle

PERCENT = re.compile(r"\d+\.\d %")


def quantize(page) -> None:
    choose(page, "ADFQ-ViT")
    page.locator("#quantize").click()
    expect(page.locator("#status .vq-done")).to_contain_text("demo-vit · ADFQ-ViT · W4/A4")
    expect(page.locator("#cards")).to_be_visible()
    settle(page)


def choose(page, label: str) -> None:
    page.get_by_label(label, exact=True).check()


def upload(page, path: Path) -> None:
    page.locator("#picture input[type=file]").set_input_files(path)


@pytest.fixture(scope="module")
def quantized(kept_page):
    """The page with a result on it, which no test that uses it replaces."""
    quantize(kept_page)
    return kept_page


def test_opens_ready_to_use_with_a_finished_result_that_is_marked_as_stored(page):
    expect(page.get_by_role("heading", name="VitQ Studio")).to_be_visible()
    expect(page.locator("#quantize")).to_be_enabled()
    expect(page.locator("#cancel")).to_be_disabled()
    expect(page.locator("#status")).to_contain_text("demo-vit · VitQ · W4/A4")
    expect(page.locator("#status")).to_contain_text("An example that comes with the studio")
    expect(page.locator(".vq-card")).to_have_count(6)
    expect(page.locator("#placeholder")).to_be_hidden()
    page.locator("#gallery button.thumbnail-item").nth(1).click()
    expect(page.locator(".vq-bars li")).to_have_count(10)
    with page.expect_download() as download:
        page.locator("#download").click()
    assert download.value.suggested_filename == "demo-vit-vitq-w4a4.zip"


@pytest.mark.wide
def test_the_button_says_that_its_result_was_there_already(page):
    page.locator("#quantize").click()
    expect(page.locator("#status .vq-done")).to_contain_text("This is already the result of these settings.")
    page.wait_for_timeout(500)  # nothing that comes after the run takes the sentence away
    expect(page.locator("#status")).to_contain_text("This is already the result of these settings.")


def test_bits_that_the_method_has_no_room_for_are_told_before_the_run(page, refused):
    choose(page, "LRP-QViT")
    page.locator("#weight-bits input[type=number]").fill("8")
    expect(page.locator("#status")).to_contain_text("“Smart bit budget” takes any of these")
    refused("#quantize", "#weight-bits", "3 to 7")


def test_the_stored_result_stays_marked_when_the_form_comes_back_to_it(page):
    choose(page, "RepQ-ViT")
    expect(page.locator("#status")).to_contain_text("Below is still demo-vit · VitQ · W4/A4")
    choose(page, "VitQ")
    expect(page.locator("#status")).to_contain_text("An example that comes with the studio")


def test_shows_what_was_saved_and_what_was_lost(quantized):
    cards = quantized.locator(".vq-card")
    expect(cards).to_have_count(6)
    expect(cards.nth(0)).to_contain_text(re.compile(r"Size\s*\d+\.\d MB.*× smaller than \d+\.\d MB"))
    expect(cards.nth(1)).to_contain_text(PERCENT)
    expect(cards.nth(2)).to_contain_text(re.compile(r"\d+ of 256 answers changed"))
    expect(quantized.locator("#placeholder")).to_be_hidden()
    expect(quantized.locator("#download")).to_be_enabled()


def test_gives_the_quantized_model_as_a_file(quantized):
    button = quantized.locator("#download")
    expect(button).to_be_enabled()
    with quantized.expect_download() as download:
        button.click()
    assert download.value.suggested_filename == "demo-vit-adfq-w4a4.zip"


@pytest.mark.wide
def test_layers_show_a_plot_and_a_table(quantized):
    quantized.get_by_text("Layer by layer").click()
    expect(quantized.locator("#sqnr .js-plotly-plot")).to_be_visible()
    expect(quantized.locator("#sites")).to_contain_text("blocks.0.attn.qkv")
    expect(quantized.locator("#results")).to_contain_text("patch_embed.proj:input")


def test_a_click_in_the_gallery_compares_both_models(quantized):
    picture = quantized.locator("#gallery button.thumbnail-item").nth(2)
    said = picture.inner_text().strip().split(" → ")
    picture.click()
    first_answers = quantized.locator(".vq-bars li:first-child .vq-label b")
    expect(first_answers).to_have_text([said[0], said[-1]])
    expect(quantized.locator(".vq-bars li")).to_have_count(10)


@pytest.mark.wide
def test_flipped_predictions_come_first(quantized):
    captions = [
        text.strip() for text in quantized.locator("#gallery button.thumbnail-item").all_inner_texts()
    ]
    flipped = ["→" in caption for caption in captions]
    assert captions
    assert flipped == sorted(flipped, reverse=True)


def test_an_uploaded_photograph_is_answered(quantized, tmp_path):
    Image.effect_mandelbrot((300, 200), (-2, -1.2, 1, 1.2), 60).convert("RGB").save(tmp_path / "holiday.jpg")
    upload(quantized, tmp_path / "holiday.jpg")
    expect(quantized.locator("#verdict")).to_contain_text("holiday.jpg")
    expect(quantized.locator(".vq-bars li")).to_have_count(10)


@pytest.mark.wide
def test_a_drawing_of_noise_is_said_to_be_unlike_the_scenes(quantized, tmp_path, noise_picture):
    noise_picture(64, 64).save(tmp_path / "noise.png")
    upload(quantized, tmp_path / "noise.png")
    expect(quantized.locator("#verdict")).to_contain_text("unlike those the model was calibrated and tested")
    quantized.locator("#gallery button.thumbnail-item").first.click()
    expect(quantized.locator("#verdict")).not_to_contain_text("unlike those")


def test_the_classes_of_the_model_are_listed_and_searched(quantized):
    quantized.get_by_text("Everything this model can answer").click()
    listed, said = quantized.locator(".vq-classes li:visible"), quantized.locator("#classes .vq-note")
    expect(listed).to_have_count(20)
    box = quantized.get_by_label("Find a class")
    box.fill("umbr")
    expect(listed).to_have_text(["umbrella"])
    expect(said).to_have_text("1 of 20 classes")
    box.fill("")
    expect(listed).to_have_count(20)
    expect(said).to_have_text("20 classes")
    box.focus()
    quantized.keyboard.insert_text("umbr")  # as pasting does: no key is pressed
    expect(listed).to_have_text(["umbrella"])


def test_a_text_file_named_png_is_refused_with_a_sentence(quantized, tmp_path):
    (tmp_path / "notes.png").write_text("not a picture at all")
    upload(quantized, tmp_path / "notes.png")
    expect(quantized.locator("#verdict")).to_contain_text("notes.png is not a picture")
    upload_again = tmp_path / "fine.png"
    Image.new("P", (40, 40), 3).save(upload_again)
    upload(quantized, upload_again)
    expect(quantized.locator("#verdict")).to_contain_text("fine.png")


def test_a_photograph_from_inside_a_package_is_answered(quantized):
    quantized.locator("#photographs button.thumbnail-item").first.click()
    expect(quantized.locator("#verdict")).to_contain_text("cheetah.jpg")


@pytest.mark.wide
def test_changed_settings_mark_the_result_as_stale(quantized):
    choose(quantized, "RepQ-ViT")
    expect(quantized.locator("#status")).to_contain_text("The settings changed.")
    choose(quantized, "ADFQ-ViT")
    expect(quantized.locator("#status")).not_to_contain_text("The settings changed.")


def test_an_error_is_said_in_a_sentence_and_the_result_stays(quantized):
    choose(quantized, "Folder")
    quantized.locator("#folder textarea").fill("/no/such/folder")
    quantized.locator("#quantize").click()
    expect(quantized.locator("#status")).to_contain_text("folder cannot be opened: No such file")
    expect(quantized.locator("#cards")).to_be_visible()
    expect(quantized.locator("#quantize")).to_be_enabled()


def test_a_model_without_pictures_of_its_own_still_works_and_warns(page):
    page.locator("#model input").click()
    page.get_by_role("option", name="CIFAR-10 ViT", exact=True).click()
    choose(page, "ADFQ-ViT")
    expect(page.locator("#model-bar")).to_contain_text("parts of other photographs stand in")
    page.locator("#quantize").click()
    expect(page.locator("#status .vq-done")).to_contain_text("cifar10-vit · ADFQ-ViT · W4/A4")
    expect(page.locator(".vq-card").nth(1)).to_contain_text("needs labelled pictures")
    expect(page.locator("#results")).to_contain_text("calibrating on another domain costs accuracy")


def test_options_are_there_where_the_method_has_them(page):
    page.get_by_text("Method's own options").click()
    choose(page, "ADFQ-ViT")
    alpha, blocks = (page.locator(f"#{name} textarea, #{name} input") for name in ("alpha", "first-blocks"))
    expect(alpha).to_be_visible()
    expect(blocks).to_be_hidden()
    choose(page, "LRP-QViT")
    expect(alpha).to_be_hidden()
    expect(blocks).to_be_visible()


@pytest.mark.wide
def test_a_wrong_option_is_explained_beside_its_box(page, refused):
    page.get_by_text("Method's own options").click()
    choose(page, "ADFQ-ViT")
    page.locator("#alpha textarea, #alpha input").fill("-1")
    expect(page.locator("#status")).to_contain_text("It must be a number above 0")
    refused("#quantize", "#alpha", "It must be a number above 0")
    page.locator("#alpha textarea, #alpha input").fill("")
    expect(page.locator("#status")).to_contain_text("The settings changed.")


@pytest.mark.parametrize("wrong", mostly_wide(["0", "2.5", "100000", ""], "2.5"))
def test_a_wrong_calibration_size_is_explained_beside_its_box(page, refused, wrong):
    sentence = "A whole number from 1 to 1024."
    page.locator("#calibration input").fill(wrong)
    expect(page.locator("#status")).to_contain_text(f"Pictures to measure ranges on: {sentence}")
    refused("#quantize", "#calibration", sentence)
    expect(page.locator("#quantize")).to_be_enabled()
    page.locator("#calibration input").fill("8")
    expect(page.locator("#status")).to_contain_text("The settings changed.")


def test_cancel_stops_the_run_and_leaves_the_page_usable(page):
    page.locator("#calibration input").fill("1024")
    page.locator("#quantize").click()
    expect(page.locator("#cancel")).to_be_enabled()
    page.locator("#cancel").click()
    expect(page.locator("#status")).to_contain_text("Cancelled.")
    expect(page.locator("#status")).to_contain_text("Below: the earlier result, demo-vit · VitQ · W4/A4")
    expect(page.locator("#quantize")).to_be_enabled()
    page.locator("#calibration input").fill("32")
    quantize(page)


def test_a_phone_needs_no_sideways_scrolling(page):
    page.set_viewport_size({"width": 390, "height": 844})
    assert_fits(page)
    quantize(page)
    page.get_by_text("Layer by layer").click()
    expect(page.locator("#sqnr .js-plotly-plot")).to_be_visible()
    expect(page.locator("#sites")).to_be_visible()
    assert_fits(page)


def test_an_address_of_no_run_is_said_above_the_example(page, studio):
    page.goto(f"{studio}?run=nothing")
    expect(page.locator("#status")).to_contain_text("This address cannot be opened.")
    expect(page.locator("#cards .vq-card").first).to_be_visible()
    page.wait_for_timeout(2000)  # whatever else opening the page sets off
    expect(page.locator("#status")).to_contain_text("There is no such run here")
