"""The page for pointing at things as a person uses it: mouse, keyboard, touch, and several people at once."""

import io
import json
import re
import zipfile
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from PIL import ExifTags, Image

from tests.widening import mostly_wide

try:
    from playwright.sync_api import Error as PlaywrightError
    from playwright.sync_api import expect
except ImportError:
    expect = PlaywrightError = None  # the browser fixture then skips, or fails under CI

from .conftest import assert_fits, open_tab, started, visited
from .segment_studio import ENCODED

CANVAS, CARDS = "#segment-canvas .vq-surface", "#segment-cards .vq-card"
CLICKS = "#segment-canvas .vq-point:not(.vq-wait)"
BOXES = "#segment-canvas .vq-box:not(.vq-own *)"
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
ORIENTATION_SIDEWAYS = 6


class Server:
    def __init__(self, url: str, log: Path):
        self.url, self.log = url, log

    @property
    def encodings(self) -> int:
        return self.log.read_text().count(ENCODED)


@pytest.fixture(scope="module")
def server(browser, tmp_path_factory) -> Server:
    folder = tmp_path_factory.mktemp("segment")
    with started(["tests/browser/segment_studio.py"], folder / "home", folder / "log") as url:
        yield Server(url, folder / "log")


@pytest.fixture
def visitor(browser, server):
    """Opens the page for one more person."""
    with ExitStack() as stack:

        def come(**settings):
            page = stack.enter_context(visited(browser, server.url, **settings))
            open_tab(page, "Segment")
            expect(page.locator("#segment-canvas img.vq-shown")).to_have_attribute(
                "src", re.compile("^data:")
            )
            return page

        yield come


@pytest.fixture
def tab(visitor):
    return visitor()


def place(page, x: float, y: float) -> tuple[float, float]:
    """Where a share of the picture is on the screen."""
    page.locator(CANVAS).scroll_into_view_if_needed()
    box = page.locator(CANVAS).bounding_box()
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def click(page, x: float, y: float, count: int, **how) -> None:
    """Click there, and wait until the page shows `count` clicks."""
    page.mouse.click(*place(page, x, y), **how)
    expect(page.locator(CLICKS)).to_have_count(count)


def drag(page, x0: float, y0: float, x1: float, y1: float) -> None:
    start, end = place(page, x0, y0), place(page, x1, y1)
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end, steps=5)


def shares(page, mark: str, *names: str) -> list[float]:
    """Where a mark is drawn, as shares of the picture."""
    style = page.locator(mark).first.get_attribute("style")
    return [float(re.search(rf"{name}: ?([\d.]+)%", style).group(1)) / 100 for name in names]


def upload(page, path: Path, size: str) -> None:
    page.locator("#segment-upload input[type=file]").set_input_files(path)
    expect(page.locator(CANVAS)).to_have_attribute("aria-label", re.compile(size))


def quantize(page) -> None:
    page.locator("#segment-method").get_by_label("Min–max", exact=True).check()
    page.locator("#segment-calibration input").fill("2")
    page.locator("#segment-quantize").click()
    expect(page.locator("#segment-status .vq-done")).to_contain_text("tiny-sam · Min–max · W6/A6")


def masks(page) -> dict[str, Image.Image]:
    with page.expect_download() as download:
        page.locator("#segment-download").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        return {name: Image.open(io.BytesIO(archive.read(name))) for name in archive.namelist()}


def test_a_click_is_answered_and_a_second_one_does_not_encode_again(tab, server):
    click(tab, 0.5, 0.5, 1)
    expect(tab.locator(CARDS)).to_have_count(2)
    expect(tab.locator("#segment-canvas .vq-mask")).to_have_count(1)
    encoded = server.encodings
    assert encoded >= 1
    click(tab, 0.3, 0.6, 2)
    assert server.encodings == encoded


@pytest.mark.wide
def test_shift_and_the_right_button_say_what_does_not_belong_to_it(tab):
    tab.keyboard.down("Shift")
    click(tab, 0.2, 0.2, 1)
    tab.keyboard.up("Shift")
    expect(tab.locator("#segment-said")).to_contain_text("what the object is not")
    click(tab, 0.3, 0.2, 2, button="right")
    click(tab, 0.5, 0.5, 3)
    expect(tab.locator(f"{CLICKS}.vq-minus")).to_have_count(2)
    tab.get_by_label("not on it", exact=True).check()
    click(tab, 0.6, 0.2, 4)
    expect(tab.locator(f"{CLICKS}.vq-minus")).to_have_count(3)


def test_a_drag_is_a_box_and_escape_gives_it_up(tab):
    drag(tab, 0.2, 0.2, 0.6, 0.7)
    tab.keyboard.press("Escape")
    tab.mouse.up()
    drag(tab, 0.25, 0.25, 0.75, 0.5)
    tab.mouse.up()
    expect(tab.locator(BOXES)).to_have_count(1)
    assert shares(tab, BOXES, "left", "top", "width", "height") == pytest.approx(
        [0.25, 0.25, 0.5, 0.25], abs=0.01
    )
    expect(tab.locator(CLICKS)).to_have_count(0)


def test_undo_by_button_and_by_key(tab):
    click(tab, 0.5, 0.5, 1)
    click(tab, 0.6, 0.5, 2)
    tab.locator("#segment-undo").click()
    expect(tab.locator(CLICKS)).to_have_count(1)
    tab.locator(CANVAS).focus()
    tab.keyboard.press("Control+z")
    expect(tab.locator(CLICKS)).to_have_count(0)
    expect(tab.locator(CARDS)).to_have_count(0)


def test_several_objects_stay_apart(tab):
    click(tab, 0.3, 0.3, 1)
    tab.locator("#segment-new").click()
    expect(tab.get_by_label("Object 2: nothing yet")).to_be_checked()
    click(tab, 0.7, 0.7, 2)
    expect(tab.locator("#segment-objects tbody tr")).to_have_count(2)
    tab.get_by_label("Object 1: 1 click").check()
    click(tab, 0.35, 0.3, 3)
    expect(tab.get_by_label("Object 1: 2 clicks")).to_be_checked()
    tab.locator("#segment-clear").click()
    expect(tab.locator(CLICKS)).to_have_count(0)


def test_the_keyboard_points_clicks_and_draws_a_box(tab):
    surface = tab.locator(CANVAS)
    surface.focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "Enter"):
        surface.press(key)
    expect(tab.locator(CLICKS)).to_have_count(1)
    assert shares(tab, CLICKS, "left", "top") == pytest.approx([0.52, 0.52], abs=0.003)
    surface.press("ArrowLeft")
    surface.press("Shift+Enter")
    expect(tab.locator(f"{CLICKS}.vq-minus")).to_have_count(1)
    surface.press("b")
    for _ in range(5):
        surface.press("ArrowUp")
        surface.press("ArrowLeft")
    surface.press("Enter")
    expect(tab.locator(BOXES)).to_have_count(1)


def test_two_visitors_see_nothing_of_each_other(visitor):
    one, two = visitor(), visitor()
    two.locator("#segment-gallery button.thumbnail-item").nth(3).click()
    expect(two.locator(CANVAS)).to_have_attribute("aria-label", re.compile("Scene 4"))
    one.mouse.click(*place(one, 0.4, 0.4))
    two.mouse.click(*place(two, 0.8, 0.8))
    for page, share in ((one, 0.4), (two, 0.8)):
        expect(page.locator(CLICKS)).to_have_count(1)
        assert shares(page, CLICKS, "left", "top") == pytest.approx([share, share], abs=0.01)
    click(one, 0.5, 0.4, 2)
    expect(two.locator(CLICKS)).to_have_count(1)
    expect(one.locator(CANVAS)).to_have_attribute("aria-label", re.compile("Scene 1,"))


def test_both_models_answer_once_there_are_two_and_another_model_has_none(tab, server):
    click(tab, 0.5, 0.5, 1)
    quantize(tab)
    expect(tab.locator(CARDS)).to_have_count(4)
    expect(tab.locator("#segment-sides img")).to_have_count(2)
    expect(tab.locator("#segment-tried .vq-card")).to_have_count(4)
    tab.get_by_text("The three candidates").click()
    expect(tab.locator("#segment-candidates img")).to_have_count(6)
    drawn = tab.locator("#segment-canvas .vq-mask").get_attribute("src")
    tab.locator("#segment-layer").get_by_label("Quantized", exact=True).check()
    expect(tab.locator("#segment-canvas .vq-mask")).not_to_have_attribute("src", drawn)
    encoded = server.encodings
    click(tab, 0.4, 0.5, 2)
    assert server.encodings == encoded
    assert set(masks(tab)) == {"full-precision/object-1.png", "quantized/object-1.png"}
    tab.locator("#segment-model input").click()
    tab.get_by_role("option", name="other-sam", exact=True).click()
    expect(tab.locator(CARDS)).to_have_count(2)
    expect(tab.locator(CLICKS)).to_have_count(2)
    expect(tab.locator("#segment-status")).to_contain_text("Only full precision answers")
    assert server.encodings == encoded + 1


@pytest.mark.wide
def test_changed_settings_and_wrong_ones_are_said(tab):
    quantize(tab)
    tab.locator("#segment-calibration input").fill("3")
    expect(tab.locator("#segment-status")).to_contain_text("The settings changed.")
    tab.locator("#segment-calibration input").fill("0")
    expect(tab.locator("#segment-status")).to_contain_text("A whole number from 1")


def test_a_large_picture_taken_sideways_is_shown_clicked_and_saved_upright(tab, tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = ORIENTATION_SIDEWAYS
    picture = Image.linear_gradient("L").resize((6000, 4000)).convert("RGB")
    picture.save(tmp_path / "holiday.jpg", exif=exif, quality=60)
    upload(tab, tmp_path / "holiday.jpg", "4000 by 6000 pixels")
    box = tab.locator(CANVAS).bounding_box()
    assert box["width"] / box["height"] == pytest.approx(4000 / 6000, abs=0.01)
    click(tab, 0.25, 0.75, 1)
    assert shares(tab, CLICKS, "left", "top") == pytest.approx([0.25, 0.75], abs=1.5 / box["width"])
    assert masks(tab)["full-precision/object-1.png"].size == (4000, 6000)


@pytest.mark.wide
def test_a_picture_of_one_pixel_is_answered(tab, tmp_path):
    Image.new("RGB", (1, 1), "red").save(tmp_path / "dot.png")
    upload(tab, tmp_path / "dot.png", "1 by 1 pixels")
    click(tab, 0.5, 0.5, 1)
    assert masks(tab)["full-precision/object-1.png"].size == (1, 1)


def test_what_is_no_picture_is_said_and_the_earlier_one_stays(tab, tmp_path):
    click(tab, 0.5, 0.5, 1)
    (tmp_path / "notes.png").write_text("not a picture")
    tab.locator("#segment-upload input[type=file]").set_input_files(tmp_path / "notes.png")
    expect(tab.locator("#segment-said")).to_contain_text("notes.png is not a picture")
    expect(tab.locator(CLICKS)).to_have_count(1)


def test_everything_is_counted_and_can_be_cancelled(tab):
    tab.locator("#everything-points input").fill("4")
    tab.locator("#everything").click()
    expect(tab.locator("#everything-status .vq-done")).to_contain_text("Scene 1")
    expect(tab.locator("#everything-figures img")).to_have_count(1)
    tab.locator("#everything-points input").fill("64")
    status, start = tab.locator("#everything-status"), tab.locator("#everything")
    for _ in range(5):  # a run of seconds may be over before a slow browser has cancelled it
        start.click()
        with suppress(PlaywrightError):
            tab.locator("#everything-cancel").click(timeout=5000)
        expect(start).to_be_enabled()
        if "Cancelled." in status.inner_text():
            break
    expect(status).to_contain_text("Cancelled.")


def test_both_models_are_measured_and_their_numbers_downloaded(tab):
    status, count = tab.locator("#measure-status"), tab.locator("#measure-count input")
    count.fill("0")
    tab.locator("#measure").click()
    expect(tab.locator("#measure-count")).to_contain_text("A whole number from 1")
    count.fill("2")
    tab.locator("#measure").click()
    expect(status).to_contain_text("Press Quantize first")
    quantize(tab)
    tab.locator("#measure").click()
    expect(status.locator(".vq-done")).to_contain_text("2 scenes")
    expect(tab.locator("#measure-table")).to_contain_text("From three clicks")
    with tab.expect_download() as download:
        tab.locator("#measure-download").click()
    results = json.loads(Path(download.value.path()).read_text())["results"]
    assert results["quantized"]["pictures"] == 2 and 0 <= results["full"]["box_iou"][0] <= 1


@pytest.mark.wide
def test_the_plain_picture_answers_too(tab):
    tab.get_by_text("Does the picture not react?").click()
    image = tab.locator("#segment-plain-image img")
    expect(image).to_be_visible()
    image.click()
    expect(tab.locator(CLICKS)).to_have_count(1)
    assert shares(tab, CLICKS, "left", "top") == pytest.approx([0.5, 0.5], abs=0.02)


@pytest.mark.parametrize("width", mostly_wide([390, 820, 1900], 390))
def test_a_click_lands_where_it_was_made_at_every_width(width, visitor):
    page = visitor(viewport={"width": width, "height": 900})
    box = page.locator(CANVAS).bounding_box()
    click(page, 0.125, 0.875, 1)
    within = 1.5 / box["width"]
    assert shares(page, CLICKS, "left", "top") == pytest.approx([0.125, 0.875], abs=within)


def test_a_phone_is_tapped_and_needs_no_sideways_scrolling(visitor):
    page = visitor(**PHONE)
    page.touchscreen.tap(*place(page, 0.5, 0.5))
    expect(page.locator(CLICKS)).to_have_count(1)
    expect(page.locator(CARDS)).to_have_count(2)
    picture, form = (page.locator(part).bounding_box() for part in (CANVAS, "#segment-quantize"))
    assert picture["y"] < form["y"]
    assert_fits(page)


@pytest.mark.wide
@pytest.mark.parametrize("screen", [{}, PHONE], ids=["wide", "phone"])
def test_what_was_quantized_here_is_exported_and_published_with_a_licence_alone(visitor, screen):
    pytest.importorskip("onnxruntime")
    page = visitor(**screen)
    quantize(page)
    open_tab(page, "Export")
    expect(page.locator("#export-run input")).to_have_value(re.compile("tiny-sam · Min–max · W6/A6"))
    page.get_by_label("Fast here: ONNX", exact=True).check()
    page.locator("#export").click()
    certificate = page.locator("#export-certificate")
    expect(certificate).to_contain_text("encoder.onnx")
    expect(certificate).to_contain_text("for one picture through its encoder")
    expect(certificate).to_contain_text("Same masks")
    page.locator("#publish .label-wrap").click()
    page.locator("#publish-name textarea, #publish-name input").fill("small-sam")
    page.locator("#publish-start").click()
    expect(page.locator("#publish-status")).to_contain_text("Licence: Choose one")
    assert_fits(page)
