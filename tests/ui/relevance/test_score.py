"""Scoring as the page does it."""

import gradio as gr
import pytest

import vitq_core as vq
from ui.explaining.scoring import Scoring
from ui.parts.model_bar import ModelBar
from ui.relevance.tab import Page


@pytest.mark.parametrize(("source", "known"), [("relevance", True), ("magic", False)])
def test_uploaded_scores_come_from_a_source_that_exists(source, known, bench, tmp_path):
    with gr.Blocks():
        section = Page(bench, ModelBar()).score
    layers = dict.fromkeys(bench.relevance.uniform("demo-vit", 4, 4), 1.0)
    vq.Importance(source, 2, layers, layers, {}).save(tmp_path / "scores.json")
    data = {part: part.value for part in section.inputs} | {section.upload: str(tmp_path / "scores.json")}
    shown = section.read(data)
    assert (section.scores in shown) == known
    if not known:
        assert "magic" in shown[section.status]
        assert all(name in shown[section.status] for name in vq.SOURCES)


def test_one_picture_is_one():
    assert Scoring("m", count=1).title == "m · relevance · 1 picture"
    assert Scoring("m", count=2).title == "m · relevance · 2 pictures"
