"""What a program may send in place of what the page sends: each time a sentence, none of the server's."""

from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

import vitq_core as vq
from tests import nasty
from ui import api
from ui.learning import effort
from ui.parts import forms as form_parts
from ui.parts import model_bar, settings
from ui.parts.model_bar import ModelBar
from ui.parts.settings import PicturesOnly, RunSettings
from ui.parts.user_sources import choose_source
from ui.quantize import form as quantize_form
from ui.quantize import tab as quantize_tab
from ui.relevance import bits as relevance_bits
from ui.relevance import settings as relevance
from ui.relevance import tab as relevance_tab
from ui.running.run_parts import pack
from ui.running.runs import sentence, without_folders
from ui.workbench import Workbench
from vitq_core.experiment.folders import changed
from vitq_core.experiment.samples import package_photographs

ME = SimpleNamespace(session_hash="me")
FORM = {
    "model": "demo-vit", "recipe": "adfq", "weight_bits": 4, "act_bits": 4, "alpha": "", "alpha_ratio": "",
    "clip_k": "1.5", "collapse": False, "log_base": "√2", "first_blocks": "", "reductions": True,
    "importance": "automatic", "effort": "quick", "iterations": "", "calibration": 32, "held_out": 256,
    "seed": 0, "pictures": "folder", "folder": "pictures", "uploads": None,
}  # fmt: skip
PAGE = FORM | {
    "importance": "relevance", "scored": 64, "policy": "paper", "base_weight": 4, "base_act": 4,
    "avg_weight_bits": "4", "avg_act_bits": "", "size_mb": "", "gbops": "", "method": "lrp", "recipe": None,
}  # fmt: skip


def check(problems: dict[str, str], known: Any) -> None:
    assert set(problems) <= set(known)
    assert all(nasty.sentence(text).endswith(".") for text in problems.values())


def values_of(field: str) -> list[Any]:
    """All nasty values but those that may well be meant there."""
    typed = dict.fromkeys(("alpha", "alpha_ratio", "first_blocks", "iterations"), ("", "   "))
    numbers = dict.fromkeys(("alpha", "clip_k", "log_base"), ("", "   ", 3.7))
    fine = typed | numbers | {"folder": tuple(nasty.TEXTS.values())}
    return [value for value in nasty.SENT.values() if not any(_same(value, ok) for ok in fine.get(field, ()))]


def _same(value: Any, other: Any) -> bool:
    return type(value) is type(other) and value == other


@pytest.mark.parametrize("recipe", ["adfq", "lrp", "crl", "minmax"])
@pytest.mark.parametrize("field", FORM)
def test_every_field_of_the_form(field, recipe):
    """A value is either refused with a sentence or means nothing for this recipe, and then has no effect."""
    fine = {"recipe": recipe, "calibration": 128}
    for value in values_of(field):
        asked = {**FORM, **fine, field: value}
        found = settings.problems(asked)
        check(found, FORM)
        if found:
            with pytest.raises(ValueError, match=r"\.$"):
                settings.from_form(asked)
        else:
            made, usual = settings.from_form(asked), settings.from_form({**FORM, **fine})
            assert made == usual and hash(made) == hash(usual), (field, value)


@pytest.mark.parametrize("field", PAGE)
def test_every_field_of_the_relevance_page(field):
    makers = {
        relevance.score_problems: relevance.scoring_of,
        relevance.bits_problems: relevance.allocation_of,
        relevance.gallery_problems: relevance.gallery_of,
        relevance.run_problems: lambda values: relevance.run_of(values, {"head": (4, 4)}),
    }
    for policy in ("paper", "budget", "uniform"):
        for value in values_of(field):
            asked = {**PAGE, "policy": policy, field: value}
            for problems, make in makers.items():
                check(problems(asked), PAGE)
                if problems(asked):
                    with pytest.raises(ValueError, match=r"\.$"):
                        make(asked)
                else:
                    assert make(asked)


@pytest.mark.parametrize("value", **nasty.named(nasty.SENT | {"nothing": None}))
def test_what_explains_a_choice_is_silent_about_what_is_none(value, bench):
    assert form_parts.recipe_sentence(value, value) == model_bar.pictures_sentence("demo-vit", value) == ""
    assert model_bar.model_sentence(value) == ""
    assert "vq-chosen" not in effort.efforts_list(value, value, value)
    for silent in (
        quantize_form._recipe_chosen(value),
        relevance_bits._policy_chosen(value),
    ):
        assert silent == gr.skip()
    assert bench.has_model(value) is False
    model_bar._model_chosen(value, value)


@pytest.mark.parametrize("value", **nasty.named(nasty.SENT))
def test_the_endpoints_of_programs(value, bench):
    good = {"model": "demo-vit", "recipe": "minmax", "calibration": 4, "held_out": 4}
    for field in ("model", "recipe", "weight_bits", "calibration", "effort"):
        refused(api._quantize(bench), **{**good, field: value})
    for field in ("model", "policy", "importance", "pictures", "base_act", "reductions"):
        refused(api._allocate(bench), **{"pictures": 2, field: value})
    picture = str(package_photographs()[0])
    refused(api._classify(bench), picture, value, "minmax", 4, 4)
    refused(api._explain(bench), picture, value, "")
    refused(api._explain(bench), value, "demo-vit", "")
    if value:  # empty: what the model says itself
        refused(api._explain(bench), picture, "demo-vit", value)


def refused(call: Any, *args: Any, **options: Any) -> None:
    with pytest.raises(gr.Error) as caught:
        call(*args, **options)
    nasty.sentence(str(caught.value.message))


@pytest.fixture
def settings_of_a_run(folder) -> RunSettings:
    return RunSettings("demo-vit", "minmax", held_out=4, pictures="folder", folder=str(folder))


@pytest.mark.parametrize("index", **nasty.named(nasty.INDICES))
def test_a_forged_click_in_a_gallery(index, bench, settings_of_a_run):
    bench.quantize(settings_of_a_run)
    with gr.Blocks():
        form, results = quantize_form.build_form(ModelBar()), quantize_tab.build_results()
        page = quantize_tab.Page(bench, form, results, gr.State(None))
    for handler in (page.pick, page.try_photograph):
        shown = handler(settings_of_a_run, SimpleNamespace(index=index))
        assert "no such picture in the gallery" in nasty.sentence(shown[results.verdict])
        with pytest.raises(gr.Error, match="no longer in memory"):
            page.pick(None, SimpleNamespace(index=index))


@pytest.mark.parametrize("index", **nasty.named(nasty.INDICES))
def test_a_forged_click_in_the_relevance_gallery(index, bench, settings_of_a_run):
    with gr.Blocks():
        explain = relevance_tab.Page(bench, ModelBar()).explain
    listed = PicturesOnly(**vars(settings_of_a_run))
    data = {explain.listed: listed, explain.target: -1, explain.kind: "patches"}
    shown = explain.pick(data, SimpleNamespace(index=index), ME)
    assert "no such picture in the gallery" in nasty.sentence(shown[explain.verdict])
    shown = explain.pick({**data, explain.listed: None}, SimpleNamespace(index=index), ME)
    assert "press Show test pictures" in nasty.sentence(shown[explain.verdict])
    for box in (explain.target, explain.kind):
        shown = explain.pick({**data, box: ["patches"]}, SimpleNamespace(index=0), ME)
        assert (
            "Choose one" in nasty.sentence(shown[explain.verdict]) or "whole number" in shown[explain.verdict]
        )


@pytest.mark.parametrize(
    "folder", ["~nosuchuser", "~nosuchuser/pictures", nasty.LONG, "a\0b", "/nonexistent"]
)
def test_folders_that_cannot_be(folder, bench, tiny_model):
    asked = RunSettings("demo-vit", "minmax", pictures="folder", folder=folder)
    assert changed(folder) == 0
    with pytest.raises(ValueError, match=r"pictures|opened") as caught:
        choose_source(tiny_model, asked)
    nasty.sentence(caught.value)
    with pytest.raises(ValueError, match=r"pictures|opened"):
        bench.quantize(asked)


def test_no_folder_of_the_server_is_told():
    failed = vq.VitqError("the state cannot be kept in /srv/data/vitq home: Permission denied")
    assert "/srv" not in sentence(failed) and "Permission denied" in sentence(failed)
    assert without_folders("'/root/.cache/vitq/hub' is damaged; delete /tmp/gradio/ab12/x.zip.") == (
        "'hub' is damaged; delete x.zip."
    )
    for kept in (
        "W4/A4 of timm/vit, 4/4 bits",
        "get it at https://example.org/a/b",
        "the folder pictures/cats",
    ):
        assert without_folders(kept) == kept


def test_a_model_that_cannot_be_packed_is_a_sentence(bench: Workbench, monkeypatch, settings_of_a_run):
    def fail(*args: Any) -> None:
        raise OSError(28, "No space left on device", "/tmp/vitq-texts/x")

    monkeypatch.setattr(bench, "download", fail)
    with pytest.raises(gr.Error, match="unexpected OSError"):
        pack(bench, settings_of_a_run)
