"""Scores, bits and explanations, with the real engine on a tiny model."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

import vitq_core as vq
from tests.shown import text_of
from ui.explaining.explained import Explained, Question, View
from ui.explaining.scoring import Scoring
from ui.parts import bits_table, layer_maps, markup
from ui.parts.data_url import as_url
from ui.parts.jobs import Job
from ui.parts.settings import PicturesOnly, RunSettings
from ui.relevance import markup as relevance_html
from ui.relevance.gallery import Gallery
from vitq_core.experiment import overlay


@pytest.fixture
def scoring(folder) -> Scoring:
    return Scoring("tiny", count=4, pictures="folder", folder=str(folder))


@pytest.fixture
def relevance(bench):
    return bench.relevance


@pytest.fixture
def table(relevance):
    return relevance.uniform("tiny", 4, 3)


@pytest.fixture
def settings(scoring, table) -> RunSettings:
    rows = tuple((layer, *pair) for layer, pair in table.items())
    return RunSettings("tiny", "lrp", held_out=4, pictures="folder", folder=scoring.folder, table=rows)


def test_scores_every_layer_and_says_how_far_it_is(relevance, scoring):
    said = []
    scores = relevance.score(scoring, lambda share, message: said.append((share, message)))
    assert set(scores.layer_scores) == set(relevance.frame("tiny").grid.places)
    assert scores.pictures == 4
    assert [share for share, _ in said] == sorted(share for share, _ in said)
    assert "4 pictures seen; 4 in all" in [message for _, message in said]


def test_a_cancelled_scoring_goes_on_where_it_stopped(relevance, scoring, monkeypatch):
    monkeypatch.setattr("ui.explaining.layers.SCORED_AT_ONCE", 1)
    seen = []

    def enough() -> bool:
        return any(message.startswith("2 pictures seen") for message in seen)

    with pytest.raises(vq.Cancelled):
        relevance.score(scoring, lambda _, message: seen.append(message), enough)
    again = []
    scores = relevance.score(scoring, lambda _, message: again.append(message))
    assert any(message.startswith("1 picture seen") for message in seen)
    assert not any(message.startswith("1 picture seen") for message in again)
    assert scores.pictures == 4


def test_a_spoilt_state_is_started_anew(relevance, scoring, tmp_path):
    first = relevance.score(scoring)
    (state,) = (tmp_path / "home" / "importance").glob("*.json")
    state.write_text("spoilt")
    assert relevance.score(scoring).layer_scores == pytest.approx(first.layer_scores)


def test_uniform_bits_are_the_same_everywhere_but_for_the_picture(relevance, table):
    assert {w for w, _ in table.values()} == {4, None}
    assert {layer: a for layer, (_, a) in table.items() if a != 3} == {"patch_embed.proj": 8}
    assert relevance.cost("tiny", table).avg_weight_bits == 4
    assert relevance.uniform_cost("tiny", 4, 3) == relevance.cost("tiny", table)


def test_policies_give_complete_tables_and_a_budget_is_kept(relevance, scoring):
    scores = relevance.score(scoring)
    paper = relevance.allocate(scoring, scores, {"policy": "paper", "first_blocks": 1, "base_bits": (4, 4)})
    budget = relevance.allocate(scoring, scores, {"policy": "budget", "avg_weight_bits": 3.5})
    assert set(paper) == set(budget) == set(scores.layer_scores)
    assert relevance.cost("tiny", budget).avg_weight_bits <= 3.5
    with pytest.raises(ValueError, match="nearest possible"):
        relevance.allocate(scoring, scores, {"policy": "budget", "size_mb": 0.0001})


def test_scores_and_tables_of_another_model_are_refused(relevance, table):
    other = vq.Importance("relevance", 2, {"a": 1.0}, {"a": 0.1}, {})
    with pytest.raises(ValueError, match="lacks"):
        relevance.check_scores("tiny", other)
    with pytest.raises(ValueError, match="does not have"):
        relevance.cost("tiny", {**table, "blocks.7.attn.qkv": (4, 4)})


def test_quantizing_uses_exactly_the_table(bench, settings, table):
    changed = {**table, "blocks.0.attn.qkv": (7, 6), "blocks.0.attn.matmul1": (None, 2)}
    rows = tuple((layer, *pair) for layer, pair in changed.items())
    outcome = bench.quantize(RunSettings(**{**vars(settings), "table": rows}))
    assert outcome.result.bits == changed
    assert outcome.result.report.avg_weight_bits == bench.relevance.cost("tiny", changed).avg_weight_bits


def test_a_picture_is_explained_for_both_models_and_remembered(
    bench, relevance, settings, tiny_model, noise_picture
):
    question = Question("tiny", ("file", "x"), quantized=settings)
    picture = noise_picture(30, 20)
    with pytest.raises(ValueError, match="no longer in memory"):
        relevance.explain(question, picture)
    alone = relevance.explain(Question("tiny", ("file", "x"), target=2), picture)
    assert alone.quantized is None
    assert alone.full.target[0] == "cat"
    bench.quantize(settings)
    both = relevance.explain(question, picture)
    assert relevance.explain(question, picture) is both
    assert both.full.patches.shape == both.quantized.patches.shape == (2, 2)
    assert both.full.pixels.shape == both.picture.shape[1:] == (16, 16)
    assert -1 <= both.similarity("patches") <= 1
    with torch.inference_mode():
        logits = tiny_model.module(tiny_model.preprocess(picture)[None])[0]
    assert both.full.answer[0] == tiny_model.labels[int(logits.argmax())]


def test_the_gallery_shows_flipped_pictures_first_or_says_that_they_are_gone(bench, settings):
    gallery, going_on = Gallery(bench), Job()
    plain = PicturesOnly(**{**vars(settings), "table": ()})
    assert len(gallery.pictures(plain, going_on)) == 4
    assert gallery.question(plain, 0, going_on).quantized is None
    with pytest.raises(ValueError, match="no longer in memory"):
        gallery.pictures(settings, going_on)
    outcome = bench.quantize(settings)
    first = outcome.reference.samples[outcome.order[0]]
    assert gallery.question(settings, 0, going_on).name == first.name
    assert gallery.question(settings, 0, going_on).truth in ("bee", "fox")


def explained(quantized: torch.Tensor | None) -> Explained:
    def view(pixels: torch.Tensor) -> View:
        return View(("<ant>", 0.5), ("bee", 0.2), pixels.abs(), pixels)

    ramp = torch.linspace(-1, 1, 16).reshape(4, 4)
    return Explained(torch.rand(3, 8, 8), view(ramp), None if quantized is None else view(quantized * ramp))


def test_maps_are_compared_by_correlation():
    assert explained(torch.tensor(3.0)).similarity("pixels") == pytest.approx(1)
    assert explained(torch.tensor(-1.0)).similarity("pixels") == pytest.approx(-1)
    assert explained(torch.tensor(0.0)).similarity("pixels") is None
    assert explained(None).similarity("pixels") is None


@pytest.mark.parametrize("kind", ["patches", "pixels"])
def test_the_page_shows_two_maps_or_says_what_is_missing(kind):
    assert relevance_html.maps(explained(torch.tensor(0.0)), kind).count("<img") == 3
    assert relevance_html.NOT_YET.split(",")[0] in relevance_html.maps(explained(None), kind)
    assert "&lt;ant&gt;" in relevance_html.comparison(explained(None), kind, "x.png", None)
    assert "cannot be compared" in relevance_html.comparison(explained(torch.tensor(0.0)), kind, "", None)


@pytest.mark.parametrize("kind", ["patches", "pixels"])
@pytest.mark.parametrize("scale", [0.0, 1e-9, 1e9])
def test_an_overlay_is_a_picture_whatever_the_scale_of_the_map(kind, scale):
    pixels = overlay.overlay(torch.rand(3, 8, 6), scale * torch.rand(4, 3), kind)
    assert pixels.shape == (overlay.SIDE, overlay.SIDE * 6 // 8, 3)
    assert 0 <= pixels.min() <= pixels.max() <= 1
    assert as_url(pixels).startswith("data:image/jpeg;base64,")


def test_the_strongest_patch_is_the_brightest():
    relevance = torch.zeros(4, 4)
    relevance[1, 2] = 1
    pixels = overlay.overlay(torch.full((3, 8, 8), 0.2), relevance, "patches").sum(2)
    row, column = divmod(int(pixels.argmax()), pixels.shape[1])
    assert (row * 4 // overlay.SIDE, column * 4 // overlay.SIDE) == (1, 2)


def test_figures_have_a_cell_for_every_layer(relevance, scoring, table):
    grid = relevance.frame("tiny").grid
    importance = relevance.score(scoring)
    (scores,) = layer_maps.importance_figure(importance, grid).data
    assert sum(text != "" for row in scores.customdata for text in row) == len(table)
    for part in (0, 1):
        (bits,) = layer_maps.bits_figure(table, grid, part).data
        shown = [value for row in bits.z for value in row if value is not None]
        assert sorted(shown) == sorted(pair[part] for pair in table.values() if pair[part] is not None)


def test_scores_of_zero_have_no_logarithm_but_a_figure(relevance, table):
    grid = relevance.frame("tiny").grid
    zero = vq.Importance("relevance", 1, dict.fromkeys(table, 0.0), dict.fromkeys(table, float("nan")), {})
    assert len(layer_maps.importance_figure(zero, grid).data) == 1
    assert "nothing can be said" in relevance_html.certainty(zero)


def test_costs_are_compared_with_the_base(relevance, table):
    fewer = relevance.cost(
        "tiny", bits_table.set_many(table, relevance.frame("tiny").grid, "all", "all", "2")
    )
    shown = text_of(relevance_html.costs(fewer, relevance.cost("tiny", table), (4, 3)))
    assert "−50.0 %; W4/A3 everywhere: 4.00" in shown


def test_scores_survive_json(relevance, scoring):
    scores = relevance.score(scoring)
    assert vq.Importance.from_json(scores.to_json()) == scores
    assert json.loads(scores.to_json())["pictures"] == 4


def test_a_correlation_of_pixels_is_a_number_without_a_claim():
    same = relevance_html.comparison(explained(torch.tensor(1.0)), "patches", "x.png", None)
    assert "They look at the same places. Likeness patch by patch: 1.00 (1 = identical)." in same
    opposite = relevance_html.comparison(explained(torch.tensor(-1.0)), "pixels", "x.png", None)
    assert "Likeness pixel by pixel: −1.00 (1 = identical)." in opposite
    assert "places" not in opposite


def test_a_picture_unlike_those_of_the_run_is_said_to_be_so(bench, relevance, settings, noise_picture):
    outcome = bench.quantize(settings)
    bench._outcomes.put(settings, replace(outcome, likeness=SimpleNamespace(unlike=lambda seen: [True])))
    picture = noise_picture(30, 20)
    dropped = relevance.explain(Question("tiny", ("file", "x"), quantized=settings), picture)
    assert markup.UNLIKE in relevance_html.comparison(dropped, "patches", "x.png", None)
    of_the_run = relevance.explain(Question("tiny", ("sample", settings, 0), quantized=settings), picture)
    assert markup.UNLIKE not in relevance_html.comparison(of_the_run, "patches", "x.png", None)
