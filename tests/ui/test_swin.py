"""A family whose attention sees windows goes behind every page that is about models of a picture alone."""

from collections.abc import Iterator

import gradio as gr
import pytest
import torch

import vitq_core as vq
from tests.shown import text_of
from tests.swin import tiny_swin
from ui.activations import figures
from ui.explaining.explained import MAPS, Question, over_each_other
from ui.explaining.scoring import Scoring
from ui.parts import bits_table, layer_maps
from ui.parts.model_bar import ModelBar
from ui.parts.settings import RunSettings
from ui.relevance import markup
from ui.relevance.tab import Page
from ui.workbench import Workbench

MODEL = "demo-vit"  # the name that the small model stands in for
FEW = {"calibration": 4, "held_out": 6}


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> Iterator[Workbench]:
    model = vq.wrap_model(tiny_swin(), ["ant", "bee", "cat", "dog", "elk"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VITQ_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setattr(vq, "load_model", lambda model_id: model)
        patch.setattr("ui.workbench.examples", tuple)
        yield Workbench()


@pytest.fixture(scope="module")
def scores(bench) -> vq.Importance:
    return bench.relevance.score(Scoring(MODEL, count=4))


@pytest.mark.parametrize("recipe", ["adfq", "lrp", "vitq"])
def test_it_is_quantized_and_measured(bench, recipe):
    outcome = bench.quantize(RunSettings(MODEL, recipe, 6, 6, **FEW))
    assert outcome.evaluation.n == 6 and outcome.result.report.size_mb < outcome.result.report.fp32_size_mb
    assert outcome.record.results["bits"].keys() == bench.relevance.frame(MODEL).grid.places.keys()


def test_its_map_of_pixels_is_shown_whatever_is_asked_for(bench):
    settings = RunSettings(MODEL, "repq", 4, 4, **FEW)
    picture = bench.quantize(settings).reference.samples[0].read()
    explained = bench.relevance.explain(Question(MODEL, ("sample", settings, 0), quantized=settings), picture)
    assert explained.full.patches is None and [explained.drawn(kind) for kind in MAPS] == ["pixels", "pixels"]
    assert all(isinstance(tensor, torch.Tensor) for tensor in explained.tensors)
    assert "Likeness pixel by pixel" in text_of(markup.comparison(explained, "pixels", "a", None))
    assert markup.maps(explained, "pixels").count("<img") == 3
    assert over_each_other(explained, "pixels")["visible"]
    with gr.Blocks():
        explain = Page(bench, ModelBar()).explain
    for kind in MAPS:
        shown = explain._shown(explained, kind, Question(MODEL, ()))[explain.maps]
        assert (markup.NO_PATCHES in text_of(shown)) == (kind == "patches")


def test_its_layers_have_scores_bits_and_maps(bench, scores):
    grid = bench.relevance.frame(MODEL).grid
    assert set(scores.layer_scores) == set(grid.places)
    assert ("layers.1.blocks.0", "attn.qkv") in grid.layers
    table = bench.relevance.allocate(
        Scoring(MODEL), scores, {"policy": "paper", "base_bits": (4, 4), "first_blocks": 1}
    )
    assert bits_table.from_cells(bits_table.to_cells(table, grid), grid) == table
    assert layer_maps.importance_figure(scores, grid).data and layer_maps.bits_figure(table, grid, 0).data
    assert bench.relevance.cost(MODEL, table).size_mb > 0


def test_a_budget_gives_bits_to_each_of_its_layers(bench):
    bench.affording.measure(Scoring(MODEL, count=4))
    found = bench.affording.within(Scoring(MODEL, count=4), 4.0)
    assert found.table.keys() == bench.relevance.frame(MODEL).grid.places.keys()
    assert found.cost.avg_weight_bits <= 4.0


def test_its_tensors_are_looked_at_one_by_one(bench):
    scoring = Scoring(MODEL, count=4)
    for name, site in bench.looking.tensors(scoring).sites.items():
        tried = bench.looking.attempt(scoring, name, "adfq", 4, {})
        assert 0 <= tried.error < 1
        figures.magnitudes(tried.values, site.role)
        assert figures.histogram(tried.values, tried.simulated, tried.levels, site.role).data
    errors = bench.looking.errors(scoring, "minmax", 4)
    assert len(errors) == len(bench.relevance.frame(MODEL).grid.places) and min(errors.values()) > 0
