"""A model without classes in the studio: features compared by their cosine, pictures by their neighbours."""

import gradio as gr
import pytest
import timm
import torch
from PIL import Image

import vitq_core as vq
from tests.shown import text_of
from ui import api
from ui.explaining.explained import Question
from ui.parts import markup
from ui.parts.outcome import Neighbours
from ui.parts.settings import RunSettings
from ui.quantize import results as page
from ui.relevance import markup as relevance_markup
from ui.workbench import Workbench


@pytest.fixture
def headless(bench, monkeypatch) -> Workbench:
    torch.manual_seed(0)
    module = timm.create_model(
        "vit_tiny_patch16_224", img_size=16, patch_size=8, embed_dim=24, depth=1, num_heads=2, num_classes=0
    )
    model = vq.wrap_model(module)
    monkeypatch.setattr(vq, "load_model", lambda model_id: model)
    return bench


@pytest.fixture
def outcome(headless, folder):
    settings = RunSettings(
        "tiny", "minmax", 3, 3, calibration=4, held_out=4, pictures="folder", folder=str(folder)
    )
    return headless.quantize(settings)


def test_the_cards_show_cosines_and_never_an_accuracy(outcome):
    cards = text_of(markup.cards(outcome))
    assert f"{outcome.evaluation.cosine:.3f}" in cards
    assert f"patch tokens {outcome.evaluation.token_cosine:.3f}" in cards
    assert f"{outcome.evaluation.min_cosine:.3f}" in cards
    assert "Accuracy" not in cards
    assert "class " not in cards + text_of(markup.facts(outcome) + markup.gallery_note(outcome))
    assert outcome.cosines.mean().item() == pytest.approx(outcome.evaluation.cosine, abs=1e-5)


def test_the_gallery_begins_with_the_features_that_changed_most(outcome):
    assert outcome.cosines[outcome.order].tolist() == sorted(outcome.cosines.tolist())
    captions = [caption for _, caption in page.thumbnails(outcome)]
    assert captions[0] == f"cosine {outcome.cosines.min():.3f}"


def test_a_picture_shows_its_nearest_neighbours_for_both_models(outcome):
    found = outcome.pair(1)
    assert isinstance(found, Neighbours)
    features = torch.nn.functional.normalize(outcome.reference.logits.double(), dim=1)
    alike = features @ features[1]
    expected = [index for index in alike.argsort(descending=True).tolist() if index != 1]
    assert [index for index, _ in found.full] == expected
    assert 1 not in {index for index, _ in found.quantized}
    shown = markup.neighbours(outcome, found)
    assert shown.count("<img") == 2 * len(expected)
    assert f"{found.kept} of 3 nearest" in markup.verdict(found)


def test_an_upload_has_neighbours_too(headless, outcome):
    found = headless.classify(outcome.settings, Image.new("RGB", (30, 30), "red"))
    assert len(found.full) == len(found.quantized) == 4
    assert -1 <= found.cosine <= 1


def test_a_map_shows_what_the_features_depend_on(headless, outcome, noise_picture):
    picture = noise_picture(30, 20)
    question = Question("tiny", ("file", "x"), quantized=outcome.settings)
    explained = headless.relevance.explain(question, picture)
    assert explained.full.answer is None
    assert -1 <= explained.similarity("patches") <= 1
    said = relevance_markup.comparison(explained, "patches", "x.png", None)
    assert relevance_markup.NAMELESS in said
    assert "x.png" in said
    assert relevance_markup.maps(explained, "pixels").count(relevance_markup.FEATURES) == 4  # twice as alt
    assert headless.relevance.frame("tiny").classes == []


def test_the_page_shows_a_features_model_without_an_error(outcome, headless):
    with gr.Blocks():
        results = page.build_results()
    shown = page.show_outcome(results, outcome)
    assert "<img" in shown[results.bars]
    assert "class " not in shown[results.verdict]


def test_a_program_gets_neighbours_in_place_of_answers(headless, folder, monkeypatch):
    chosen = RunSettings("tiny", "minmax", calibration=4, held_out=4, pictures="folder", folder=str(folder))
    monkeypatch.setattr(api, "_settings", lambda bench, **values: chosen)
    picture = str(next(folder.rglob("*.png")))
    answer = api._classify(headless)(picture, "tiny", "minmax", 4, 4)
    assert set(answer) == {"full_precision", "quantized", "cosine", "unlike"}
    assert answer["cosine"] > 0 and answer["full_precision"]
