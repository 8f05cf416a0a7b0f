"""Runs are shared: what the command line makes the studio lists and opens, and the other way round."""

from __future__ import annotations

import json

import pytest

from ui.parts.settings import RunSettings
from ui.parts.stored_outcome import run_settings
from ui.segment.judging import Judging
from ui.segment.settings import SamSettings
from ui.tradeoffs.points import points_of
from ui.workbench import EVERYBODY, Workbench
from vitq_core.cli import naming
from vitq_core.cli.recipes import chosen_recipe
from vitq_core.experiment.runs import Asked, RunStore

from .conftest import FEW

SETTINGS = RunSettings("demo-vit", "minmax", 4, 4, calibration=4, held_out=8)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Workbench:
    monkeypatch.setattr("ui.workbench.examples", tuple)
    return Workbench()


def test_a_run_of_the_command_line_in_the_studio(answered, bench):
    told = answered("quantize", "demo-vit", *FEW)
    (record,) = bench.runs_of(EVERYBODY)
    assert record.id == told["run"] and record.name == SETTINGS.title
    (point,) = points_of([record], "demo-vit")
    assert point.quality.value == told["results"]["quantized"]["top1"][0]
    assert run_settings(record.settings) == SETTINGS  # the Quantize page can open it
    assert bench.known(SETTINGS).id == record.id  # and does not make it again in a sweep


def test_a_run_of_the_studio_at_the_command_line(answered, bench):
    record = bench.keep(bench.quantize(SETTINGS).record)
    told = answered("quantize", "demo-vit", *FEW)
    assert told["known"] is True and told["run"] == record.id
    assert [each["run"] for each in answered("runs", "list")] == [record.id]
    assert len(RunStore().all()) == 1


def test_both_measure_the_same(answered, bench):
    told = answered("quantize", "demo-vit", *FEW)
    record = bench.quantize(SETTINGS).record
    assert json.loads(json.dumps(record.results)) == told["results"]
    assert record.key == RunStore().get(told["run"]).key


def test_a_folder_of_pictures_is_the_same_for_both(answered, bench, pictures):
    answered("quantize", "demo-vit", *FEW, "--data", pictures)
    settings = RunSettings(
        "demo-vit", "minmax", 4, 4, calibration=4, held_out=8, pictures="folder", folder=str(pictures)
    )
    assert run_settings(RunStore().all()[0].settings) == settings
    assert bench.known(settings) is not None


STUDIOS = [
    SETTINGS,
    RunSettings("demo-vit", "repq", 3, 6, seed=5),
    RunSettings("demo-vit", "vitq", effort="quick", calibration=128),
    RunSettings("demo-vit", "adfq", effort="quick", iterations=7, calibration=128),
    RunSettings("demo-vit", "adfq", options=(("alpha_ratio", 0.02),)),
    RunSettings("demo-vit", "repq", 8, 8, integer=True),
    RunSettings("demo-vit", "crl", table=(("blocks.0.attn.qkv", 6, 5), ("blocks.0.attn.matmul1", None, 3))),
    RunSettings("demo-vit", "minmax", pictures="generated"),
]


@pytest.mark.parametrize("settings", STUDIOS, ids=lambda each: each.slug)
def test_both_call_a_run_the_same(settings):
    assert naming.name_of(settings.asked()) == settings.title


@pytest.mark.parametrize("settings", STUDIOS, ids=lambda each: each.slug)
def test_what_was_asked_is_the_studios_form_again(settings):
    found = naming.settings_of(settings.asked())
    assert run_settings(json.loads(json.dumps(found))) == settings


@pytest.mark.parametrize("parts", ["both", "encoder", "decoder", "all"])
def test_so_is_what_segment_anything_was_asked(parts):
    settings = SamSettings("demo-sam", "ptq4sam", 6, 4, parts, calibration=2, seed=1)
    asked = settings.asked(Judging(count=4))
    assert SamSettings(**naming.settings_of(asked)) == settings
    assert naming.name_of(asked, True) == settings.title


def test_the_command_lines_own_recipe_of_masks_is_the_studios():
    assert (
        chosen_recipe("segmentation", weight_bits=6, act_bits=6)
        == SamSettings("s", "ptq4sam").engine_recipe()
    )


def test_what_the_studio_has_no_form_for_is_only_listed():
    recipe = chosen_recipe("classification", "repq", settings=["iterations=1", "drop=0.25"])
    assert naming.settings_of(Asked("demo-vit", recipe, 32, 8)) == {}
