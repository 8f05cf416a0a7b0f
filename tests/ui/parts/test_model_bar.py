"""The bar above the tabs: which tab a model opens, which model a tab opens with, what is said of pictures."""

from __future__ import annotations

import gradio as gr
import pytest

from ui.parts.model_bar import (
    OWN_SCENES,
    SCENES_ALONE,
    ModelBar,
    _model_chosen,
    picture_places,
    pictures_sentence,
)  # fmt: skip
from ui.parts.model_list import ALL, SEGMENTS, SHOWN
from ui.parts.settings import PLACES

TASKS = {"Views": SHOWN, "Runs": ALL, "Masks": SEGMENTS}


@pytest.fixture(scope="module")
def page():
    """The bar over three tabs, of which the last has a field of its own; handlers by name and place."""
    with gr.Blocks() as blocks:
        bar = ModelBar("Views")
        with gr.Tabs():
            for name, tasks in TASKS.items():
                with gr.Tab(name, id=name) as tab:
                    bar.enter(name, tab, tasks, name == "Masks")
                    field = gr.Dropdown(["demo-sam"], label="Its own")
        bar.connect(TASKS, {"Masks": field})
    handlers = [event.fn for event in blocks.fns.values() if event.fn is not None]
    entered = dict(zip(TASKS, [fn for fn in handlers if fn.__name__ == "entered"], strict=True))
    (chosen,) = [fn for fn in handlers if fn.__name__ == "chosen"]

    def choose(model: str, tab: str) -> dict:
        return chosen({bar.fields["model"]: model, bar.tab: tab, bar.last: "demo-vit"})

    return bar, field, entered, choose


def test_a_model_opens_its_own_tab(page):
    bar, field, _, choose = page
    seen = choose("demo-sam", "Views")
    assert seen[bar.opens] == "Masks" and seen[field] == "demo-sam"
    assert seen[bar.fields["model"]] == "demo-vit"
    assert choose("demo-sam", "Runs") == gr.skip()
    assert choose("demo-vit-outliers", "Views") == {bar.last: "demo-vit-outliers"}
    assert choose("none", "Views") == choose(["x"], "Views") == gr.skip()


def test_a_tab_opens_with_a_model_that_it_is_about(page):
    _, _, entered, _ = page
    assert entered["Views"]("demo-sam", "demo-vit") == ("Views", "demo-vit")
    assert entered["Views"]("demo-vit", "other") == ("Views", gr.skip())
    assert entered["Runs"]("demo-sam", "demo-vit")[1] == gr.skip()
    assert entered["Masks"]("demo-vit", "demo-vit") == ("Masks", gr.skip())


def test_what_is_said_of_pictures_is_true_of_the_model(monkeypatch):
    assert pictures_sentence("demo-vit", "own") == OWN_SCENES
    assert pictures_sentence("demo-sam", "folder") == SCENES_ALONE
    monkeypatch.setenv("VITQ_PICTURES", "/somewhere")
    monkeypatch.delenv("SPACE_ID", raising=False)
    assert _model_chosen("vit_small_patch16_224", "own")[1] == "folder"
    assert _model_chosen("demo-sam", "own")[1] == _model_chosen("demo-vit", "uploads")[1] == gr.skip()
    assert _model_chosen("vit_small_patch16_224", "generated")[1] == gr.skip()


def test_every_place_of_the_bar_is_one_that_a_run_knows_and_has_a_sentence(monkeypatch):
    monkeypatch.delenv("SPACE_ID", raising=False)
    names = [name for _, name in picture_places()]
    assert sorted(names) == sorted(PLACES)
    assert all(pictures_sentence("demo-vit", name) for name in names)
    assert "out of noise" in pictures_sentence("demo-vit", "generated")
