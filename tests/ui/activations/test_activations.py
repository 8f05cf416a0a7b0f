"""The page of activations without a browser: layers worst first, sliders that redraw, what is taken over."""

from __future__ import annotations

import time
from typing import Any

import gradio as gr
import numpy as np
import pytest
import torch

import vitq_core as vq
from tests import nasty
from tests.shown import text_of
from ui.activations import figures, tab
from ui.activations.tab import SLIDERS, Page
from ui.explaining.scoring import Scoring
from ui.parts.jobs import Job
from ui.parts.model_bar import ModelBar
from ui.parts.site_names import layer_name, tensor_name
from ui.workbench import Workbench
from vitq_core.experiment import is_number

GOOD = {
    "model": "demo-vit", "method": "adfq", "bits": 4, "site": "blocks.0.attn.qkv:input", "calibration": 32,
    "held_out": 256, "seed": 0, "pictures": "own", "folder": "", "uploads": None,
}  # fmt: skip
ANSWERED = [
    name for name in GOOD if name not in ("folder", "uploads")
]  # these two where pictures are not given


def quietly(done: float, said: str) -> None:
    """Nobody listens."""


@pytest.fixture(scope="module")
def bench(tmp_path_factory, tiny_model) -> Workbench:
    patch = pytest.MonkeyPatch()
    patch.setenv("VITQ_HOME", str(tmp_path_factory.mktemp("home")))
    patch.setattr(vq, "load_model", lambda model_id: tiny_model)
    yield Workbench()
    patch.undo()


@pytest.fixture(scope="module")
def page(bench) -> Page:
    with gr.Blocks(), gr.Tab("Activations"):
        return Page(bench, ModelBar())


@pytest.fixture
def held(page) -> dict[Any, Any]:
    values = {component: GOOD[name] for name, component in page.fields.items()}
    return values | {slider: slider.value for slider in page.sliders.values()} | {page.moved: None}


def test_it_opens_with_a_layer_and_then_the_worst_first(page, bench, held):
    seen = page.open({**held, page.fields["site"]: None})
    listed = seen[page.fields["site"]]
    assert listed["value"] == listed["choices"][0][1] == "patch_embed.proj:input"
    seen = page.measure(held, quietly, Job())
    errors = bench.looking.known_errors(Scoring("demo-vit"), "adfq", 4)
    worst = max(errors, key=errors.__getitem__)
    listed = seen[page.fields["site"]]
    assert listed["value"].startswith(f"{worst}:") and "% of the error" in listed["choices"][0][0]
    order = [errors[site.partition(":")[0]] for _, site in listed["choices"]]
    assert order == sorted(order, reverse=True)
    assert "Share of the damage" in seen[page.cards] and "worst first" in seen[page.status]
    again = page.open(held)
    assert again[page.fields["site"]]["value"] == GOOD["site"] and "worst first" in again[page.status]


def test_a_tensor_is_shown_and_its_sliders_stand_where_its_quantizer_does(page, held):
    seen = page.choose(held)
    assert "block 1, queries, keys, values, after normalization" in text_of(seen[page.where])
    assert GOOD["site"] in seen[page.where]
    assert seen[page.sliders["alpha"]] == gr.update(visible=True, value=5.0)
    assert not seen[page.sliders["log_base"]]["visible"]
    names = [trace.name for trace in seen[page.histogram].data]
    assert names == ["full precision", "quantized", "levels"]
    assert seen[page.magnitudes]["value"].data[0].z.shape == (5, 24)
    softmax = page.choose({**held, page.fields["site"]: "blocks.0.attn.matmul2:input"})
    assert softmax[page.histogram].layout.xaxis.type == "log"
    assert softmax[page.sliders["log_base"]]["visible"]


def test_dragging_a_threshold_changes_what_is_kept_here_and_in_all_layers(page, held):
    kept = []
    for alpha in (0.5, 1.5):
        seen = page.move("alpha", {**held, page.sliders["alpha"]: alpha})
        assert seen[page.moved] == {"alpha": alpha}
        kept.append(page._tried({**GOOD}, seen[page.moved]).kept)
        bars = page.all_layers({**held, page.moved: seen[page.moved]})["value"].data[0]
        assert GOOD["site"] in bars.x and bars.y[list(bars.x).index(GOOD["site"])] == pytest.approx(
            100 * kept[-1]
        )
    assert kept[0] > kept[1] > 0
    seen = page.move("alpha_ratio", {**held, page.moved: {"alpha": 0.5}, page.sliders["alpha_ratio"]: 0.01})
    assert seen[page.moved] == {"alpha_ratio": 0.01}


def test_dragging_the_clip_width_shows_what_the_layer_behind_loses(page, held):
    held = {**held, page.fields["method"]: "crl"}
    seen = page.choose(held)
    assert seen[page.sliders["clip_k"]]["visible"] and not seen[page.sliders["alpha"]]["visible"]
    said = []
    for k in (0.0, 3.0):
        seen = page.move("clip_k", {**held, page.sliders["clip_k"]: k})
        said.append(seen[page.cards])
        assert "Error of the output" in said[-1] and "least error of the output" in seen[page.advice]
        bars = page.all_layers({**held, page.moved: seen[page.moved]})["value"]
        assert "error of the output" in bars.layout.yaxis.title.text
    assert said[0] != said[1]
    assert page.settings({**held, page.moved: {"clip_k": 3.0}}).options == (("clip_k", 3.0),)


def test_a_redraw_takes_less_than_a_third_of_a_second(page, held):
    page.choose(held)
    begin = time.perf_counter()
    for alpha in (1.0, 2.0, 3.0, 4.0, 5.0):
        page.move("alpha", {**held, page.sliders["alpha"]: alpha})
    assert (time.perf_counter() - begin) / 5 < 0.3


def test_what_was_moved_is_taken_over(page, held):
    settings = page.settings({**held, page.moved: {"alpha": 1.5}})
    assert settings.options == (("alpha", 1.5),) and settings.recipe == "adfq"
    assert settings.engine_recipe().options.alpha == 1.5
    plain = page.settings({**held, page.fields["method"]: "minmax", page.moved: {"alpha": 1.5}})
    assert plain.options == ()


@pytest.mark.parametrize("part", [*ANSWERED, *SLIDERS])
def test_what_nobody_can_choose_is_a_sentence(page, held, part):
    for value in nasty.SENT.values():
        if part in SLIDERS:
            said = page.move(part, {**held, page.sliders[part]: value})[page.cards]
        else:
            data = {**held, page.fields[part]: value}
            said = page.choose(data)[page.cards]
            page.all_layers(data)
        assert "vq-error" in said or (part in SLIDERS and is_number(value))  # any number may be tried
        assert "unexpected" not in said
    said = page.move("alpha", {**held, page.sliders["alpha"]: -1.0})[page.cards]
    assert "alpha" in said and "vq-error" in said


def test_a_form_without_values_is_refused_field_by_field() -> None:
    assert tab.problems({}).keys() == {"model", "method", "bits", "calibration", "held_out", "seed"}


def test_a_cancelled_measuring_ends(page, held):
    job = Job()
    job.abandon()
    with pytest.raises(vq.Cancelled):
        page.measure({**held, page.fields["bits"]: 3}, quietly, job)


def test_names_that_people_can_read() -> None:
    assert layer_name("blocks.3.attn.matmul1") == "block 4, attention scores"
    assert layer_name("image_encoder.blocks.0.mlp.lin1") == "block 1, mlp lin1"
    assert layer_name("layers.1.blocks.0.mlp.fc1") == "stage 2, block 1, first MLP layer"
    assert layer_name("layers.1.downsample.reduction") == "stage 2, patch merging"
    assert layer_name("head") == "head" and layer_name("stem.conv") == "stem.conv"
    assert tensor_name("post_softmax") == "attention probabilities"
    assert tensor_name("some_role") == "some role"


def test_no_outlier_disappears_from_a_map() -> None:
    values = torch.zeros(1, 997, 1201)
    values[0, 500, 700] = 8.0
    heat = figures.magnitudes(values, "post_layernorm").data[0]
    assert heat.z.shape[0] <= figures.ROWS and heat.z.shape[1] <= figures.COLUMNS
    assert np.max(heat.customdata) == 8.0
    assert figures.magnitudes(torch.zeros(1, 2, 3, 4), "query") is None


def test_after_the_run_all_layers_are_drawn_like_the_one_that_it_shows(bench):
    """It was another tensor's chart before."""
    with gr.Blocks() as studio, gr.Tab("Activations") as tab_of_it:
        page = Page(bench, ModelBar())
        page.connect(tab_of_it)
    (run,) = (event for event in studio.fns.values() if event.fn == page.run.run)
    after = [event for event in studio.fns.values() if event.trigger_after == run._id]
    assert [event.fn for event in after if event.outputs == [page.everywhere]] == [page.all_layers]
