"""What Gradio would convert or refuse first reaches our handlers as it is, also once it is built anew."""

import base64
from pathlib import Path

import gradio as gr
import pytest
from gradio.data_classes import ImageData
from gradio_client import Client

from tests import nasty
from ui.parts import raw_inputs
from ui.parts.forms import bits_slider
from ui.parts.raw_inputs import RawNumber, raw_image


@pytest.fixture
def boxes() -> tuple[gr.Slider, gr.Image]:
    with gr.Blocks():
        return bits_slider("Bits", "bits"), raw_image()


@pytest.mark.parametrize("number", [4, 4.5, 99, -1, None])
def test_a_number_outside_of_the_range_is_left_to_the_form(boxes, number):
    slider, _ = boxes
    rebuilt = type(slider)(**slider.constructor_args)
    assert slider.preprocess(number) == rebuilt.preprocess(number) == number


def test_the_browser_shows_both_as_gradios_own(boxes):
    assert [box.get_block_name() for box in boxes] == ["slider", "image"]


@pytest.mark.parametrize("value", ["4", 3.7, "four", None, [4]])
def test_a_number_of_a_program_is_left_to_the_checks(value):
    assert RawNumber(4).preprocess(value) == value


def url(data: bytes, kind: str = "image/png") -> ImageData:
    return ImageData(url=f"data:{kind};base64,{base64.b64encode(data).decode()}")


def test_a_data_url_becomes_a_file_and_the_same_one_once(boxes, tmp_path):
    image = boxes[1]
    image.GRADIO_CACHE = str(tmp_path)
    paths = {image.preprocess(url(b"a picture", kind)) for kind in ("image/png", "image/jpeg", "")}
    (path,) = paths
    with open(path, "rb") as file:
        assert file.read() == b"a picture"
    assert image.preprocess(url(b"another")) != path
    assert image.preprocess(ImageData(path="/a/file.png", url="data:,")) == "/a/file.png"


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("http://127.0.0.1/secret.png", "addresses are not fetched"),
        ("data:image/png,raw", "Send a file, or a data URL"),
        ("data:image/png;base64,a*b", "Its data URL is damaged"),
        (f"data:image/png;base64,{'A' * 400}", "more than 20 MB"),
    ],
)
def test_another_address_is_refused_with_a_sentence(boxes, address, sentence, monkeypatch, tmp_path):
    monkeypatch.setattr(raw_inputs, "LONGEST_URL", 300)
    boxes[1].GRADIO_CACHE = str(tmp_path)
    with pytest.raises(gr.Error, match=sentence) as caught:
        boxes[1].preprocess(ImageData(url=address))
    nasty.sentence(str(caught.value.message))
    assert list(tmp_path.iterdir()) == []


def test_over_http_a_program_sends_a_data_url_and_what_it_likes_as_a_number():
    """As its own server takes them, which looks at files and numbers before any handler."""
    with gr.Blocks() as page:
        inputs, output = [raw_image(), RawNumber(4)], gr.JSON()
        gr.Button().click(
            lambda path, number: [Path(path).read_text(), number], inputs, output, api_name="ask"
        )
    page.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, ssr_mode=False)
    try:
        client = Client(page.local_url, verbose=False)
        for number in ("4", 3.7):
            sent = {"url": url(b"a picture").url, "meta": {"_type": "gradio.FileData"}}
            assert client.predict(sent, number, api_name="/ask") == ["a picture", number]
    finally:
        page.close()
