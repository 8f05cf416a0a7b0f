"""An address that opens a run, or a form that is filled."""

from __future__ import annotations

from types import SimpleNamespace

import gradio as gr
import pytest

from tests import nasty
from ui.parts.model_bar import ModelBar
from ui.parts.settings import RunSettings
from ui.parts.visitors import EVERYBODY, NOBODY
from ui.quantize.address import asked_for
from ui.quantize.form import build_form
from ui.quantize.results import build_results
from ui.quantize.tab import Page
from ui.workbench import ALONE, planned
from vitq_core.experiment.runs import Plan


def test_words_and_numbers_fill_the_form(bench) -> None:
    given = {"method": "adfq", "weight_bits": "3", "seed": "7", "utm_source": "somewhere"}
    asked = asked_for(bench, given, EVERYBODY)
    assert (asked.recipe, asked.weight_bits, asked.act_bits, asked.seed) == ("adfq", 3, 4, 7)
    assert asked_for(bench, {"utm_source": "x"}, EVERYBODY) is None


@pytest.mark.parametrize("name", ["method", "model", "weight_bits", "seed", "run"])
def test_what_cannot_be_is_a_sentence(bench, name) -> None:
    for value in ("", "x", "-1", "1e9", "<b>", *map(str, nasty.SENT.values())):
        with pytest.raises(ValueError) as raised:
            asked_for(bench, {name: value}, EVERYBODY)
        assert nasty.sentence(str(raised.value)).endswith(".")


def test_a_kept_run_is_opened_by_whoever_may_see_it(bench, folder, monkeypatch) -> None:
    monkeypatch.setattr(bench, "opening", lambda: None)  # this bench's model is a tiny one
    settings = RunSettings(
        "demo-vit", "minmax", 3, 3, calibration=4, held_out=4, pictures="folder", folder=str(folder)
    )
    kept = bench.keep(bench.quantize(settings).record)
    assert asked_for(bench, {"run": kept.id}, EVERYBODY) == settings
    with pytest.raises(ValueError, match="somebody else's"):
        asked_for(bench, {"run": kept.id}, NOBODY)
    with gr.Blocks():
        page = Page(bench, build_form(ModelBar()), build_results(), gr.State(None))
    me = SimpleNamespace(session_hash="me", query_params={"run": kept.id})
    seen = page.open(me)
    assert seen[page.shown] == settings and settings.title in seen[page.results.status]
    assert seen[page.form.fields["weight_bits"]]["value"] == 3
    wrong = page.open(SimpleNamespace(session_hash="me", query_params={"run": "nothing"}))
    assert "cannot be opened" in wrong[page.results.status]
    assert page.reflect_opening({page.refused: wrong[page.refused]}, me) == gr.skip()


def test_a_run_that_the_server_was_asked_for_is_found_by_its_address(bench, folder) -> None:
    settings = RunSettings(
        "demo-vit", "minmax", 3, 3, calibration=4, held_out=4, pictures="folder", folder=str(folder)
    )
    plan = bench.sweeps.start(Plan("alone", (planned(settings, kind=ALONE),)))
    assert asked_for(bench, {"run": plan}, EVERYBODY) == settings  # under way or done
    assert bench.sweeps.wait(60.0) and asked_for(bench, {"run": plan}, EVERYBODY) == settings
    other = Plan("theirs", (planned(settings, kind=ALONE),), "somebody")
    bench.sweeps.plans.add(other)
    with pytest.raises(ValueError, match="somebody else's"):
        asked_for(bench, {"run": other.id}, EVERYBODY)
    masks = Plan("masks", ({"kind": "masks", "settings": {"parts": "both", "recipe": "minmax"}},))
    bench.sweeps.plans.add(masks)
    with pytest.raises(ValueError, match="no such run"):
        asked_for(bench, {"run": masks.id}, EVERYBODY)
