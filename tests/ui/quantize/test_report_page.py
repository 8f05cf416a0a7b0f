"""A run as one HTML file: whole, safe to open, and silent about this machine."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import gradio as gr
import pytest

from ui.parts.model_bar import ModelBar
from ui.parts.settings import RunSettings
from ui.quantize.form import build_form
from ui.quantize.report_page import report_page
from ui.quantize.results import build_results
from ui.quantize.tab import Page


@pytest.fixture
def outcome(bench, folder):
    settings = RunSettings(
        "demo-vit", "minmax", 2, 2, calibration=4, held_out=4, pictures="folder", folder=str(folder)
    )
    return bench.quantize(settings)


def test_it_holds_the_numbers_and_every_changed_answer(outcome, tmp_path) -> None:
    text = report_page(outcome)
    assert outcome.settings.title in text and text.startswith("<!doctype html>")
    assert text.count("<figure>") == int(outcome.flips.sum()) > 0
    assert f"{int(outcome.flips.sum())} answers of 4 changed" in text or "1 answer of 4 changed" in text
    assert "plotly" in text and "vq-card" in text


def test_it_needs_nothing_else_and_says_nothing_of_this_machine(outcome, folder) -> None:
    text = report_page(outcome)
    own = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)  # Plotly's own code names its makers
    assert "<img" in own and not re.findall(r'(?:src|href)="(?!data:)[^"]*"', own)
    assert not re.findall(r"<script[^>]*src=", text)
    assert str(folder.parent) not in text


def test_names_of_pictures_are_no_markup(outcome) -> None:
    samples = [replace(sample, name="<script>x</script>") for sample in outcome.reference.samples]
    text = report_page(replace(outcome, reference=replace(outcome.reference, samples=samples)))
    assert "<script>x" not in text and "&lt;script&gt;x" in text


def test_no_changed_answer_is_said(bench, outcome) -> None:
    same = replace(outcome, logits=outcome.reference.logits)
    text = report_page(same)
    assert "No answer changed in 4 pictures" in text and "<figure>" not in text


def test_the_button_makes_the_file(bench, outcome) -> None:
    with gr.Blocks():
        page = Page(bench, build_form(ModelBar()), build_results(), gr.State(None))
    path = Path(page.report(outcome.settings))
    assert path.suffix == ".html" and outcome.settings.title in path.read_text()
    with pytest.raises(gr.Error, match="no longer in memory"):
        page.report(None)
