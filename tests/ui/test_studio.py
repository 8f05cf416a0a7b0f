"""The page as Gradio sees it."""

import json

import gradio as gr
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests import nasty
from ui.parts.settings import FIELDS
from ui.studio import UNREADABLE, Studio, build_studio


@pytest.fixture(scope="module")
def studio() -> gr.Blocks:
    return build_studio()


def test_heavy_events_wait_for_each_other(studio):
    heavy = [event for event in studio.fns.values() if event.concurrency_id == "heavy"]
    assert len(heavy) >= 5
    assert {event.concurrency_limit for event in heavy} == {1}


def test_downloads_do_not_wait_for_runs(studio):
    clicks = [event for event in studio.fns.values() if event.concurrency_id == "download"]
    assert (
        len(clicks) == 8
    )  # of a result on three pages and as a page, of masks, of numbers, of all runs, of exports
    assert all(event.queue and event.concurrency_limit > 1 for event in clicks)


def test_no_model_lives_in_the_state_of_a_page(studio):
    states = [block for block in studio.blocks.values() if isinstance(block, gr.State)]
    assert all(state.value is None or isinstance(state.value, str) for state in states)


def test_every_choice_of_the_form_has_a_label(studio):
    labelled = (gr.Dropdown, gr.Radio, gr.Slider, gr.Number, gr.Textbox, gr.File, gr.Checkbox)
    fields = [block for block in studio.blocks.values() if isinstance(block, labelled)]
    assert len(fields) >= len(FIELDS)
    assert all(field.label for field in fields)


def test_an_event_without_progress_marks_no_output(studio):
    """Gradio's page goes through all that was ever marked, at every event."""
    silent = [
        event for event in studio.fns.values() if event.show_progress == "hidden" and not event.validator
    ]
    assert len(silent) > 50
    for event in silent:
        assert event.show_progress_on is not None and len(event.show_progress_on) == 1


@pytest.fixture(scope="module")
def asked():
    """Sends a body to a handler of a small page, as a program may; the answer's status and error."""

    def chosen(event: gr.SelectData):
        return str(event.index)

    with Studio() as page:
        choice, number = gr.Radio(["a", "b"], value="a"), gr.Number(1)
        gallery, said = gr.Gallery(), gr.Textbox()
        choice.change(lambda *values: str(values), [choice, number], said, queue=False)
        gallery.select(chosen, None, said, queue=False)
        echo = [gr.Textbox(), gr.JSON()]
        said.change(lambda text: (text, {text: [text]}), said, echo, queue=False)
        listed = gr.Dropdown(["a"])
        listed.change(lambda name: name, listed, said, queue=False)
    with TestClient(gr.mount_gradio_app(FastAPI(), page, "/")) as client:
        json_type = {"Content-Type": "application/json"}

        def ask(body: dict) -> dict:
            sent = json.dumps(
                {"session_hash": "me", **body}
            )  # escaped: a client of Python's sends no half letters
            return client.post("/gradio_api/run/predict", content=sent, headers=json_type).json()

        yield ask


def test_what_the_page_sends_is_answered(asked):
    assert asked({"fn_index": 0, "data": ["b", 2]})["data"] == ["('b', 2)"]
    click = {"index": 3, "value": None}
    assert asked({"fn_index": 1, "data": [], "event_data": click})["data"] == ["3"]


def test_half_a_letter_ends_no_stream_of_events(asked):
    """A name of a file that is no text, as Python reads it and JSON carries it."""
    assert asked({"fn_index": 2, "data": ["caf\udce9"]})["data"] == ["caf?", {"caf?": ["caf?"]}]
    assert "caf? is not in the list" in asked({"fn_index": 3, "data": ["caf\udce9"]})["error"]


@pytest.mark.parametrize("data", [[], ["b"], [["b"], 1], [{"path": "/etc/passwd"}, 1], ["c", 1]])
def test_other_values_than_the_page_sends_are_refused_in_a_sentence(asked, data, capsys):
    said = asked({"fn_index": 0, "data": data})["error"]
    assert nasty.sentence(said) == UNREADABLE or "not in the list of choices" in said
    assert "Traceback" not in "".join(capsys.readouterr())


@pytest.mark.parametrize("event", [None, [], "x", {"index": 3}, {"value": 3}])
def test_a_click_on_nothing_is_refused_in_a_sentence(asked, event, capsys):
    assert asked({"fn_index": 1, "data": [], "event_data": event})["error"] == UNREADABLE
    assert "Traceback" not in "".join(capsys.readouterr())
