"""What happens in several steps of the relevance page together."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from ui.parts.model_bar import ModelBar
from ui.parts.settings import RunSettings
from ui.relevance.tab import Page

ME = SimpleNamespace(session_hash="me")
CELLS = [["block 1", "7/7"]]


@pytest.fixture
def page(bench) -> Page:
    with gr.Blocks():
        return Page(bench, ModelBar())


def held(page: Page, **given: Any) -> dict[Any, Any]:
    """What a browser holds; `given`: the model that the page is filled for, and its table."""
    parts = page.explain.inputs | page.explain.asked | page.bits.inputs
    data = {part: getattr(part, "value", None) for part in parts}
    return data | {page.bits.table: given.get("table"), page.opened: given.get("opened")}


def test_a_table_of_the_same_model_stays_and_one_of_another_goes(page):
    """What was asked of an earlier model may be answered after the page was cleared."""
    model = page.score.fields["model"].value
    assert page.bits.table in page.fill(held(page), ME)
    for opened in (None, model):
        assert page.bits.table not in page.fill(held(page, table=CELLS, opened=opened), ME)
    assert page.bits.table in page.fill(held(page, table=CELLS, opened="another"), ME)


def test_pictures_are_those_of_the_newest_result(page, bench, folder):
    model = page.score.fields["model"].value
    run = RunSettings(model, "minmax", calibration=4, held_out=4, pictures="folder", folder=str(folder))
    data = held(page, table=CELLS, opened=model) | {page.explain.shown_run: run}
    assert page._is_filled(data)  # nothing is in memory yet
    bench.quantize(run)
    assert not page._is_filled(data)
    shown = page.fill(data, ME)
    assert shown[page.explain.listed] == run and shown[page.explain.divider]["visible"]
    assert page._is_filled(data | {page.explain.listed: run})
    elsewhere = data | {page.score.fields["model"]: "cifar10-vit"}
    assert page.explain.result(elsewhere) is None
