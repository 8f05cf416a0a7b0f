"""Explaining a picture that somebody drops, as Gradio calls the page's handlers."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import pytest
from gradio.state_holder import SessionState
from PIL import ExifTags, Image

from tests.awaiting import awaited
from ui.parts import markup
from ui.parts.model_bar import ModelBar
from ui.parts.settings import RunSettings
from ui.quantize.form import build_form
from ui.quantize.results import build_results
from ui.quantize.tab import Page as QuantizePage
from ui.relevance.tab import Page

MODEL = "demo-vit"
ME = SimpleNamespace(session_hash="me")
ORIENTATION_SIDEWAYS = 6


class Visitor:
    """Both pages in one session. `drop` and `try_upload` give what their events put on the page."""

    def __init__(self, bench: Any):
        with gr.Blocks() as self.studio:
            bar = ModelBar()
            self.relevance = Page(bench, bar)
            self.quantize = QuantizePage(bench, build_form(bar), build_results(), bar.shown)
            self.relevance.explain.connect()
            self.quantize.connect()
        self.explain = self.relevance.explain
        self.session = SessionState(self.studio)

    def show_result(self, settings: RunSettings) -> None:
        for shown in (self.relevance.quantize.shown, self.quantize.shown):
            self.session[shown._id] = settings

    def drop(self, path: Path | None) -> dict:
        return self._upload(self.explain.drop, self.explain.picture, path)

    def try_upload(self, path: Path) -> dict:
        return self._upload(self.quantize.try_upload, self.quantize.results.picture, path)

    def _upload(self, handler: Callable, box: gr.Image, path: Path | None) -> dict:
        sent = None if path is None else {"path": str(path), "meta": {"_type": "gradio.FileData"}}
        given = {box: sent, self.explain.target: -1, self.explain.kind: "patches"}
        given[self.relevance.score.fields["model"]] = MODEL
        event = next(event for event in self.studio.fns.values() if event.fn == handler)
        inputs = [given.get(part) for part in event.inputs]
        called = self.studio.process_api(event, inputs, self.session, request=ME)
        answer = awaited(called)
        return dict(zip(event.outputs, answer["data"], strict=True))


@pytest.fixture
def uploads(tmp_path, monkeypatch) -> Path:
    """Where Gradio puts what is uploaded."""
    folder = tmp_path / "uploads"
    folder.mkdir()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(folder))
    return folder


@pytest.fixture
def visitor(bench, uploads) -> Visitor:
    return Visitor(bench)


def colours(channels: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (20, 24, channels), np.uint8)


def no_pictures(folder: Path) -> list[tuple[Path, str]]:
    """Files that are called pictures, and what is said of them."""
    text, empty, huge = folder / "text.jpg", folder / "empty.png", folder / "huge.png"
    text.write_text("not a picture")
    empty.touch()
    Image.new("1", (13_500, 13_500)).save(huge)
    return [
        (text, "text.jpg is not a picture in a format that can be read"),
        (empty, "empty.png is empty"),
        (huge, "huge.png has more than 50 megapixels"),
    ]


def test_what_is_no_picture_is_named_and_the_earlier_maps_go(visitor, uploads):
    Image.fromarray(colours(3)).save(uploads / "good.png")
    for path, sentence in no_pictures(uploads):
        assert "<img" in visitor.drop(uploads / "good.png")[visitor.explain.maps]
        visitor.drop(None)  # leaves everything as it was, for which Gradio builds the box anew
        shown = visitor.drop(path)
        assert sentence in shown[visitor.explain.verdict]
        assert shown[visitor.explain.maps] == ""
        assert shown[visitor.explain.picture] is None


def save_rotated(path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = ORIENTATION_SIDEWAYS
    Image.fromarray(colours(3)).save(path, exif=exif)


PICTURES = {
    "transparent.png": lambda path: Image.fromarray(colours(4), "RGBA").save(path),
    "cmyk.jpg": lambda path: Image.fromarray(colours(4), "CMYK").save(path),
    "rotated.jpg": save_rotated,
    "deep.png": lambda path: Image.fromarray(colours(1)[..., 0].astype(np.uint16) * 257).save(path),
}


@pytest.mark.parametrize("name", PICTURES)
def test_both_pages_read_a_picture_alike_and_call_it_by_its_name(name, visitor, bench, uploads, folder):
    rows = tuple((layer, *pair) for layer, pair in bench.relevance.uniform(MODEL, 4, 4).items())
    settings = RunSettings(MODEL, "lrp", calibration=4, held_out=4, folder=str(folder), table=rows)
    bench.quantize(settings)
    visitor.show_result(settings)
    PICTURES[name](uploads / name)
    visitor.drop(None)
    explained = visitor.drop(uploads / name)
    bars = visitor.try_upload(uploads / name)[visitor.quantize.results.bars]
    assert name in explained[visitor.explain.verdict]
    question = visitor.session[visitor.explain.question._id]
    found = bench.relevance._explained.get(question)
    for view in (found.full, found.quantized):
        assert f"<b>{view.answer[0]}</b>" in bars
        assert markup.percent(view.answer[1]) in bars
