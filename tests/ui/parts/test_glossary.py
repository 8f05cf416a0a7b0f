"""Words of the field have a sentence, wherever they are met."""

from __future__ import annotations

import re
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest

import vitq_core as vq
from tests.shown import text_of
from ui.activations import view as activations
from ui.parts import glossary, markup, plots, primer, steps
from ui.parts.forms import recipe_sentence
from ui.parts.glossary import TERMS, explained
from ui.parts.settings import RunSettings
from ui.relevance import markup as relevance
from ui.segment import view as segment
from ui.studio import build_studio
from ui.tradeoffs import view as tradeoffs

DESCRIBED = re.compile(r'aria-describedby="([^"]+)"')


def test_each_term_is_defined_once():
    for each in ([term.name.casefold() for term in TERMS], [term.id for term in TERMS]):
        assert len(set(each)) == len(TERMS)
    for term in TERMS:
        name = term.name.removesuffix(" pictures").removeprefix("outlier threshold ")
        known = DESCRIBED.findall(explained(name))
        assert known == [term.id], f"{term.name} is explained by {known}"
        assert term.sentence.endswith(".") and len(term.sentence) < 160


def test_a_word_can_be_reached_without_a_mouse_and_is_described():
    said = explained("After calibration")
    assert said == (
        'After <dfn class="vq-word" tabindex="0" aria-describedby="vq-means-calibration">calibration</dfn>'
    )
    (term,) = (term for term in TERMS if term.name == "calibration")
    assert f'<p id="vq-means-calibration">{term.sentence}</p>' in glossary.sentences()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Weights, and again weights", ["Weights"]),
        ("calibrated, then CALIBRATION of other weights", ["calibrated", "weights"]),
        ("With W4/A4 and W8/A8", ["W4/A4"]),
        ("lower α, and see", ["α"]),
        ("20 dB: a tenth", ["dB"]),
        ("The weight bits", ["weight bits"]),
        ("blocks.3.attn.qkv.weight:input", []),
        ("the file weights/attention.zip", []),
        ("?relevance=3", []),
        ("tensorflow, heavyweight, paperweights", []),
        ("", []),
    ],
)
def test_a_word_is_marked_where_it_is_used_first_and_never_within_another(text, words):
    assert re.findall(r"<dfn[^>]*>([^<]*)</dfn>", explained(text)) == words
    assert text_of(explained(text)) == text


def test_everything_is_escaped():
    said = explained('<script>weights</script> & "α" <dfn>')
    assert text_of(said) == '<script>weights</script> & "α" <dfn>'
    assert re.findall(r"<(\w+)", said) == ["dfn", "dfn"]
    assert "<script" not in markup.note("<script>") and "<b>" not in markup.card("<b>", "<b>", "<b>")
    assert "<b>" not in steps.step(1, "<b>", "<b>")


def test_the_primer_ends_with_all_terms():
    said = text_of(primer.primer().rpartition("<h3")[2])
    assert all(term.name in said and term.sentence in said for term in TERMS)


@pytest.fixture
def shown(bench) -> str:
    """What pages hold when they open, and what their handlers add."""
    blocks = build_studio(bench).blocks.values()
    opened = [str(block.value) for block in blocks if isinstance(block, gr.HTML)]
    outcome = bench.quantize(RunSettings("demo-vit", "minmax", calibration=2, held_out=4))
    features = SimpleNamespace(token_cosine=0.9, min_cosine=0.5)
    tried = SimpleNamespace(kept=0.01)
    cost = vq.TableCost(4.0, 4.0, 1.0, 1.0)
    answer = SimpleNamespace(iou=0.9, mask=np.ones((2, 2)))
    return "".join(
        [
            *opened, markup.cards(outcome), markup.facts(outcome), tradeoffs.drawn(0),
            markup.legend(plots.role_colors(outcome.result.report.sites)),
            markup.card("Likeness", "0.9", markup._cosines(features)),
            *(markup.note(recipe_sentence(name)) for name in vq.RECIPES),
            *(markup.note(activations.advice("", tried, None, has)) for has in ({"alpha"}, {"log_base"})),
            markup.note(activations.advice("other", tried, None, ())),
            relevance.costs(cost, cost, (4, 4)),
            segment.cards(SimpleNamespace(full=answer, quantized=None)),
        ]
    )  # fmt: skip


def test_every_term_is_met_on_the_page_and_every_word_has_its_sentence(shown):
    used, known = set(DESCRIBED.findall(shown)), {term.id for term in TERMS}
    assert known <= used, f"nobody meets {known - used}"
    assert all(f'id="{name}"' in shown for name in known)
