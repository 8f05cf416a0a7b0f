"""Choosing bits as the page does it."""

import re

import gradio as gr
import pytest

import vitq_core as vq
from ui.explaining.scoring import Scores
from ui.relevance.bits_view import LABELS
from ui.relevance.tab import Page


@pytest.mark.parametrize("limit", LABELS)
def test_a_limit_that_is_too_small_is_named_as_the_form_calls_it_with_one_that_works(limit, bench):
    with gr.Blocks():
        section = Page(bench).bits
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
