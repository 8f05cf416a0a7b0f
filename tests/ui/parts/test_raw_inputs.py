"""What Gradio would convert or refuse first reaches our handlers as it is, also once it is built anew."""

import gradio as gr
import pytest

from ui.parts.forms import bits_slider
from ui.parts.raw_inputs import raw_image


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
