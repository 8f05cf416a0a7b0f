"""The page as Gradio sees it."""

import gradio as gr
import pytest

from ui.parts.settings import FIELDS
from ui.studio import build_studio


@pytest.fixture(scope="module")
def studio() -> gr.Blocks:
    return build_studio()


def test_programs_see_the_main_actions_only(studio):
    assert set(studio.get_api_info()["named_endpoints"]) == {
        "/models",
        "/quantize",
        "/classify",
        "/allocate",
        "/relevance",
        "/segment",
    }


def test_heavy_events_wait_for_each_other(studio):
    heavy = [event for event in studio.fns.values() if event.concurrency_id == "heavy"]
    assert len(heavy) >= 5
    assert {event.concurrency_limit for event in heavy} == {1}


def test_downloads_do_not_wait_for_runs(studio):
    clicks = [event for event in studio.fns.values() if event.concurrency_id == "download"]
    assert len(clicks) == 7  # of a result on three pages and as a page, of masks, of numbers, of all runs
    assert all(event.queue and event.concurrency_limit > 1 for event in clicks)


def test_no_model_lives_in_the_state_of_a_page(studio):
    states = [block for block in studio.blocks.values() if isinstance(block, gr.State)]
    assert {state.value for state in states} == {None}


def test_every_choice_of_the_form_has_a_label(studio):
    labelled = (gr.Dropdown, gr.Radio, gr.Slider, gr.Number, gr.Textbox, gr.File, gr.Checkbox)
    fields = [block for block in studio.blocks.values() if isinstance(block, labelled)]
    assert len(fields) >= len(FIELDS)
    assert all(field.label for field in fields)
