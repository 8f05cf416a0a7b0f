"""A quantized Segment Anything on the page of exports: chosen, compared by its scenes, published."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest

import vitq_core as vq
from tests.segmenting import tiny_bench
from tests.shown import text_of
from ui.export.endpoint import _export
from ui.export.making import Exports
from ui.export.tab import Page
from ui.parts.model_bar import ModelBar
from ui.segment.bench import SegmentBench
from ui.segment.judging import Judging
from ui.segment.settings import SamSettings

ME = SimpleNamespace(session_hash="me")
EVEN = SamSettings("tiny-sam", "minmax", 8, 8, calibration=2)
UNEVEN = SamSettings("tiny-sam", "ptq4sam", 6, 6, calibration=2)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SegmentBench:
    return tiny_bench(monkeypatch, tmp_path / "home")


@pytest.fixture
def page(bench: SegmentBench) -> Page:
    with gr.Blocks(), gr.Tab("Export"):
        return Page(Exports(bench.bench), ModelBar())


def opened(page: Page, shown: SamSettings | None, name: str) -> dict:
    """What a browser holds after it opened the tab, with `shown` on the page of masks."""
    before = {
        page.which: None, page.format: name, page.listed: None, page.seen: None, page.shown: None,
        page.bar.shown: None, page.bar.shown_masks: shown,
    }  # fmt: skip
    updates = page.open(before, ME)
    return {
        **before, page.listed: updates[page.listed], page.which: updates[page.which]["value"],
        page.seen: updates[page.seen],
    }  # fmt: skip


def test_what_answers_on_the_page_of_masks_is_exported(page, bench, pressed, tmp_path):
    pytest.importorskip("onnxruntime")
    made = bench.quantize(EVEN)
    data = opened(page, EVEN, "onnx")
    assert page.settings(data) == EVEN
    updates = pressed(page.run, data, ME)
    shown = updates[page.shown]
    text = text_of(updates[page.certificate])
    assert "encoder.onnx and decoder.onnx" in text and "Same masksmean IoU" in text
    assert "prompts that judged it" in text and "for one picture through its encoder" in text
    with zipfile.ZipFile(shown.path) as archive:
        archive.extractall(tmp_path)
    folder = tmp_path / f"{EVEN.slug}-onnx"
    assert {"encoder.onnx", "decoder.onnx", "run_it.py"} <= {path.name for path in folder.iterdir()}
    stored = vq.Certificate.from_json(json.loads((folder / "certificate.json").read_text()), folder)
    assert stored.counts == "prompt" and stored.promised == len(made.result.model.vitq.layers)
    card = vq.write_model_card(folder, page.exports.published(EVEN).result, licence="mit").read_text()
    assert "Mean IoU of both masks" in card and "encoder, decoder = " in card


@pytest.mark.wide
def test_what_has_no_integer_form_gets_one_that_is_judged_too(page, bench, pressed):
    pytest.importorskip("onnxruntime")
    bench.quantize(UNEVEN)
    data = opened(page, UNEVEN, "onnx")
    refused = pressed(page.run, data, ME)
    assert refused[page.offer]["visible"] and refused[page.shown] is None
    updates = pressed(page.integer, data, ME)
    assert updates[page.shown].settings == replace(UNEVEN, integer=True)
    assert bench.made(replace(UNEVEN, integer=True)).result.recipe == vq.integer_form(UNEVEN.engine_recipe())
    judged = text_of(updates[page.judged]["value"])
    assert judged.count("From a click") == 2 and "Integer form: tiny-sam · PTQ4SAM" in judged


def test_runs_that_were_measured_are_listed(page, bench):
    bench.quantize(EVEN)
    bench.measure(EVEN, Judging(count=1))
    data = opened(page, None, "packed")
    assert page.settings(data) == EVEN


@pytest.mark.wide
def test_a_program_gets_one_by_the_models_name(page, bench):
    told, path = _export(page.exports)("tiny-sam", "minmax", 8, 8, "packed", False)
    assert told["counts"] == "prompt" and told["packed"] == 0 and Path(path).exists()
    with pytest.raises(gr.Error, match="recipe"):
        _export(page.exports)("tiny-sam", "nothing", 8, 8, "packed", False)
