"""The first page's handlers, with plain dictionaries: what stands in the banner, and whose result it is."""

from dataclasses import replace
from types import SimpleNamespace

import gradio as gr
import pytest

from ui.parts.model_bar import ModelBar
from ui.parts.settings import RunSettings, StoppedRun
from ui.quantize import aims
from ui.quantize.form import build_form
from ui.quantize.results import build_results
from ui.quantize.tab import Page

ME = SimpleNamespace(session_hash="me")


@pytest.fixture
def page(bench) -> Page:
    with gr.Blocks():
        return Page(bench, build_form(ModelBar()), build_results(), gr.State(None))


@pytest.fixture
def settings(folder) -> RunSettings:
    return RunSettings(
        "demo-vit", "repq", 3, 3, calibration=4, held_out=4, pictures="folder", folder=str(folder)
    )


def form(page: Page, settings: RunSettings, shown: RunSettings | None = None) -> dict:
    """What Gradio hands over where the form asks for `settings`."""
    fields = page.form.fields
    values = {name: fields[name].value for name in fields}
    values |= {name: getattr(settings, name) for name in ("model", "recipe", "weight_bits", "act_bits")}
    values |= {name: getattr(settings, name) for name in ("calibration", "held_out", "pictures", "folder")}
    return {fields[name]: value for name, value in values.items()} | {page.shown: shown, page.done: shown}


def said(page: Page, settings: RunSettings, shown: RunSettings | None = None) -> str:
    return page.reflect(form(page, settings, shown), ME)


def test_a_run_shows_its_result_and_names_it(page, settings, pressed):
    updates = pressed(page.quantizing, form(page, settings), ME)
    assert updates[page.shown] == updates[page.done] == settings
    assert settings.title in updates[page.results.status]
    assert "example" not in updates[page.results.status]
    assert "already" not in updates[page.results.status]
    assert page.settle(form(page, settings, settings)) == gr.skip()
    assert "Below is still" in page.settle(form(page, replace(settings, weight_bits=5), settings))


def test_the_button_says_where_its_result_was_there_already(page, bench, settings, pressed):
    for stored in (False, True):
        bench._outcomes.put(settings, replace(bench.quantize(settings), stored=stored))
        updates = pressed(page.quantizing, form(page, settings, settings), ME)
        assert "already the result of these settings" in updates[page.results.status]
        assert ("An example" in updates[page.results.status]) == stored
    assert page.settle(form(page, settings, settings)) == gr.skip(), "the sentence stays"


def test_another_form_dims_the_result_and_the_same_one_brings_it_back(page, settings, pressed):
    pressed(page.quantizing, form(page, settings), SimpleNamespace(session_hash="you"))
    other = replace(settings, weight_bits=5)
    assert "Nothing quantized yet" in said(page, settings)
    assert f"Below is still {settings.title}" in said(page, other, settings)
    assert "vq-done" in said(page, settings, settings)


def test_a_stopped_run_is_told_apart_from_the_finished_one(page, settings):
    stopped = StoppedRun(**vars(settings), learned=2, modules=9)
    assert "2 of 9 modules are done" in said(page, settings, stopped)
    named = f"{settings.title}, stopped after 2 of 9 modules"
    assert f"Below is still {named}" in said(page, replace(settings, weight_bits=5), stopped)
    assert f"the earlier result, {named}" in said(page, replace(settings, weight_bits=1), stopped)
    assert stopped.slug == f"{settings.slug}-stopped2of9"
    assert stopped != settings
    assert stopped.complete == settings


def test_the_opening_shows_the_stored_result(page, settings, bench, monkeypatch):
    outcome = replace(bench.quantize(settings), stored=True)
    bench._outcomes.put(settings, outcome)
    monkeypatch.setattr(bench, "opening", lambda: outcome)
    updates = page.open(ME)
    assert updates[page.shown] == settings
    assert "An example that comes with the studio" in updates[page.results.status]
    assert "An example" in said(page, settings, settings)
    assert "An example" not in said(page, replace(settings, weight_bits=5), settings)


@pytest.mark.parametrize("fault", [None, OSError("no such disk")])
def test_without_a_stored_result_the_page_opens_all_the_same(page, bench, monkeypatch, fault):
    def opening():
        if fault:
            raise fault

    monkeypatch.setattr(bench, "opening", opening)
    assert page.open(ME) == gr.skip()


def test_a_run_that_was_started_first_is_not_talked_over(page, bench, settings, monkeypatch):
    outcome = bench.quantize(settings)
    monkeypatch.setattr(bench, "opening", lambda: outcome)
    page.quantizing.jobs.start("me")
    assert page.open(ME) == gr.skip()
    assert said(page, settings, settings) == gr.skip()


def test_the_smallest_model_that_keeps_every_answer_is_looked_for(page, bench, settings, pressed):
    asked = form(page, replace(settings, recipe="minmax", weight_bits=8, act_bits=8))
    updates = pressed(page.quantizing, {**asked, page.form.aim: aims.SMALLEST}, ME)
    found = updates[page.shown]
    assert (
        updates[page.form.fields["weight_bits"]] == updates[page.form.fields["act_bits"]] == found.weight_bits
    )
    assert updates[page.form.aim] == aims.OWN
    tried = {each.weight_bits: bench.outcome(each) for each in aims.attempts(found) if bench.outcome(each)}
    kept = {bits for bits, outcome in tried.items() if aims.keeps_all(outcome)}
    assert found.weight_bits == (min(kept) if kept else max(aims.TRIED))
    said = updates[page.results.status]
    assert ("Even with 8 bits" in said) == (not kept) and ("No answer changes" in said) == bool(kept)
    fewer = [bits for bits in tried if bits < found.weight_bits]
    assert len(fewer) <= 1 and not kept & set(fewer)
    assert {record.asked.recipe.weight_bits for record in bench.runs.all()} == set(tried)


@pytest.mark.parametrize("aim", [name for _, name in aims.AIMS])
def test_an_aim_fills_in_the_form_and_says_what_it_does(page, aim):
    values = aims.filled(aim)
    assert aims.sentence(aim).endswith(".")
    assert set(values) == (set() if aim == aims.OWN else {"recipe", "weight_bits", "act_bits"})
    assert aims.filled(["x"]) == {} and aims.sentence(3) == ""


def test_where_both_models_look_stands_beside_the_answers(page, bench, settings, pressed):
    results = page.results
    updates = pressed(page.quantizing, form(page, settings), ME)
    question = updates[results.looked]
    assert not updates[results.divider]["visible"]  # it comes later
    shown = page.look(question)
    full, quantized = shown["value"]
    assert shown["visible"] and full.size == quantized.size and full.tobytes() != quantized.tobytes()
    picked = page.pick(settings, SimpleNamespace(index=1))
    assert picked[results.looked] != question and picked[results.looked].quantized == settings
    assert not page.look(None)["visible"]
    gone = replace(question, quantized=replace(settings, seed=9))
    assert not page.look(gone)["visible"]
    assert not page.look(replace(question, picture=("file", "/no/such/file.png")))["visible"]


def test_another_pages_result_is_taken_over(page, bench, settings):
    outcome = bench.quantize(settings)
    assert page.take(settings)[page.shown] == outcome.settings
    assert page.take(None) == page.take(replace(settings, seed=9)) == gr.skip()
