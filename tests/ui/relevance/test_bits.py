"""Choosing bits as the page does it."""

import re

import gradio as gr
import pytest

import vitq_core as vq
from ui.explaining.scoring import Scores
from ui.parts import bits_table
from ui.parts.model_bar import ModelBar
from ui.relevance.bits_view import LABELS
from ui.relevance.tab import Page


@pytest.mark.parametrize("limit", LABELS)
def test_a_limit_that_is_too_small_is_named_as_the_form_calls_it_with_one_that_works(limit, bench):
    with gr.Blocks():
        section = Page(bench, ModelBar()).bits
    layers = bench.relevance.uniform("demo-vit", 4, 4)
    scores = Scores("demo-vit", vq.Importance("relevance", 2, dict.fromkeys(layers, 1.0), {}, {}))
    parts = section.score.fields | section.fields
    data = {part: part.value for part in parts.values()} | {section.score.scores: scores}
    data |= {parts["policy"]: "budget", parts["scored"]: 4, parts[limit]: "1e-5"}
    with pytest.raises(ValueError) as caught:
        section.allocate(data, None, None)
    said = re.fullmatch(
        rf"{re.escape(LABELS[limit])}: 1e-05 is too small\. At 2 bits everywhere this model comes to (\S+)\. "
        r"Enter \1 or more\.",
        str(caught.value),
    )
    assert "done" in section.allocate({**data, parts[limit]: said[1]}, None, None)[section.status]


@pytest.fixture
def section(bench):
    with gr.Blocks():
        return Page(bench, ModelBar()).bits


@pytest.fixture
def data(section, bench):
    """What Gradio hands over with 4 bits everywhere."""
    found = {part: part.value for part in section.inputs}
    grid = bench.relevance.frame("demo-vit").grid
    return found | {section.table: bits_table.to_cells(bench.relevance.uniform("demo-vit", 4, 4), grid)}


def uploaded(path, table) -> str:
    path.write_text(bits_table.to_json(table))
    return str(path)


def test_a_file_that_gives_weight_bits_to_a_step_without_weights_is_refused(section, data, bench, tmp_path):
    table = bench.relevance.uniform("demo-vit", 4, 4)
    path = tmp_path / "bits.json"
    assert "vq-done" in section.read({**data, section.upload: uploaded(path, table)})[section.status]
    table["blocks.0.attn.matmul1"] = (3, 4)
    shown = section.read({**data, section.upload: uploaded(path, table)})
    assert "blocks.0.attn.matmul1 has no weights: give it [null, 4], not [3, 4]." in shown[section.status]
    assert section.table not in shown


def test_there_is_no_file_of_a_table_that_is_wrong(section, data):
    right = section.edit(data)
    assert right[section.download]["interactive"]
    data[section.table][1][1] = "9/4"
    for answer in (section.edit(data), section.rebase(data)):
        assert "Check the table." in answer[section.status]
        assert answer[section.download] == gr.update(value=None, interactive=False)
    data[section.table][1][1] = "8/4"
    assert section.rebase(data)[section.download]["interactive"]
    assert section.status not in section.rebase(data)
