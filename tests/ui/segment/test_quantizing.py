"""Making a quantized model on the page: its settings, its scenes, its run."""

from __future__ import annotations

import zipfile
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest
from PIL import Image

import vitq_core as vq
from tests import nasty
from tests.widening import mostly_wide
from ui.parts.jobs import Job
from ui.segment import settings
from ui.segment.settings import SamSettings

VALUES = {
    "model": "tiny-sam", "recipe": "minmax", "weight_bits": 6, "act_bits": 6, "parts": "both",
    "calibration": 2, "seed": 0,
}  # fmt: skip


@pytest.mark.parametrize("field", VALUES)
def test_every_field_of_the_form(field, bench):
    assert settings.from_form(VALUES).title
    for value in nasty.SENT.values():
        found = settings.problems({**VALUES, field: value})
        assert list(found) == [field]
        assert nasty.sentence(found[field]).endswith(".")
        with pytest.raises(ValueError, match=r"\.$"):
            settings.from_form({**VALUES, field: value})


def test_settings_are_named_by_what_is_unusual():
    made = SamSettings("demo-sam", "minmax", 4, 5, "encoder", calibration=4, seed=3)
    for part in ("demo-sam", "W4/A5", "encoder only", "4 calibration scenes", "seed 3"):
        assert part in made.title
    assert made.slug == "demo-sam-minmax-w4a5-encoder"


@pytest.mark.parametrize(("parts", "quantized"), [("both", False), ("encoder", False), ("all", True)])
def test_heads_are_quantized_where_that_is_asked(bench, parts, quantized):
    made = bench.quantize(settings.from_form({**VALUES, "parts": parts}))
    bits = {layer: each for layer, each in made.result.bits.items() if "hypernetworks" in layer}
    assert (set(bits.values()) == {(8, 8)}) if quantized else not bits
    assert ("heads at 8 bits" in made.settings.title) == quantized


def test_a_quantized_model_is_made_once_and_can_be_cancelled(bench):
    asked = settings.from_form(VALUES)
    made = bench.quantize(asked)
    assert bench.quantize(asked) is made is bench.made(asked)
    assert bench.made(SamSettings("tiny-sam", "minmax")) is None
    job = Job()
    job.abandon()
    with pytest.raises(vq.Cancelled):
        bench.quantize(settings.from_form({**VALUES, "seed": 9}), job=job)


@pytest.mark.parametrize("recipe", mostly_wide((name for _, name in settings.methods()), "ptq4sam", "vitq"))
def test_every_method_of_the_form_makes_a_model(bench, recipe: str) -> None:
    """Also those that learn elsewhere, from eight scenes."""
    made = bench.quantize(settings.from_form({**VALUES, "recipe": recipe, "calibration": 2}))
    assert made.result.recipe.name == recipe and not made.result.report.units


def test_the_quantized_model_is_downloaded_whole(bench, tmp_path) -> None:
    asked = settings.from_form(VALUES)
    assert bench.download(asked) is None
    made = bench.quantize(asked)
    with zipfile.ZipFile(bench.download(asked)) as archive:
        archive.extractall(tmp_path)
    (folder,) = tmp_path.iterdir()
    loaded = vq.load_quantized(folder)
    assert folder.name == asked.slug and loaded.bits == made.result.bits
    picture = Image.new("RGB", (60, 40), "red")
    first, second = (
        vq.Segmenter(model).segment(picture, [vq.Prompt(((9, 9),), (1,))])[0]
        for model in (loaded, made.result)
    )
    assert np.array_equal(first.low_res, second.low_res)


def test_a_run_of_the_page_is_used_for_the_next_answers(page, visitor):
    me = visitor().opens()
    me.clicks(0.5, 0.5)
    me.held |= {part: VALUES[name] for name, part in page.form.fields.items()}
    me.takes(page.quantize(me.held, lambda done, said: None, Job()))
    assert "tiny-sam · Min–max · W6/A6" in me.seen[page.status]
    assert me.seen[page.outcome]["visible"] and "From a box" in me.seen[page.tried]
    me.takes(page.use(me.held))
    assert "Agreement" in me.seen[page.board.cards]


def test_the_banner_follows_the_form(page, visitor):
    me, request = visitor().opens(), SimpleNamespace(session_hash="me")
    me.held |= {part: VALUES[name] for name, part in page.form.fields.items()}
    assert "Only full precision answers" in page.reflect(me.held, request)
    me.held[page.board.shown] = settings.from_form(VALUES)
    assert "vq-done" in page.reflect(me.held, request)
    me.held[page.form.fields["weight_bits"]] = 3
    assert "The settings changed" in page.reflect(me.held, request)
    me.held[page.form.fields["weight_bits"]] = 99
    assert "Weight bits: A whole number" in page.reflect(me.held, request)


def test_without_a_model_or_a_method_there_is_a_sentence(bench, monkeypatch):
    monkeypatch.setattr(settings, "models", list)
    monkeypatch.setattr(settings, "methods", list)
    found = settings.problems(VALUES)
    assert found["model"] == settings.NO_MODEL
    assert found["recipe"] == settings.NO_METHOD
    from ui.segment import tab

    with gr.Blocks() as studio, gr.Tab("Segment") as opened:
        tab.build(bench.bench, studio, opened)
    assert any(
        settings.NO_MODEL in str(part.value) for part in studio.blocks.values() if hasattr(part, "value")
    )
