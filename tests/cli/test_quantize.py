"""`vitq quantize`: a run of the studio, made at a terminal."""

from __future__ import annotations

import json
import re

import pytest
import torch

import vitq_core as vq
from vitq_core.cli.working import Work
from vitq_core.experiment.runs import RunStore
from vitq_core.passes import reconstruct

from .conftest import FEW, loaded


def test_it_measures_like_the_engine_and_keeps_the_run(answered):
    told = answered("quantize", "demo-vit", *FEW)
    (record,) = RunStore().all()
    assert (told["run"], told["results"]["quantized"]) == (record.id, record.results["quantized"])
    assert told["known"] is False and told["results"]["quantized"]["n"] == 8
    assert record.asked.recipe == vq.recipe("minmax", effort="none")


def test_the_same_again_is_there_already(answered, vitq):
    first = answered("quantize", "demo-vit", *FEW)
    again = answered("quantize", "demo-vit", *FEW)
    assert again["known"] is True and again["run"] == first["run"]
    assert "Already made" in vitq("quantize", "demo-vit", *FEW).stderr
    assert len(RunStore().all()) == 1


@pytest.mark.parametrize("known", [False, True], ids=["new", "known"])
def test_the_folder_holds_the_model_that_was_measured(vitq, answered, tmp_path, known):
    if known:
        vitq("quantize", "demo-vit", *FEW)
    told = answered("quantize", "demo-vit", *FEW, "--out", tmp_path / "small")
    result = vq.load_quantized(tmp_path / "small")
    assert result.report.size_mb == told["results"]["size_mb"]
    images = torch.stack([torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))])
    own = answered("evaluate", tmp_path / "small", "--limit", "8", "--reference", "demo-vit")
    assert own["top1"] == told["results"]["quantized"]["top1"][0]
    assert own["kl"] == pytest.approx(told["results"]["quantized"]["kl"][0], abs=1e-6)
    assert torch.isfinite(result(images)).all()


def test_a_folder_of_pictures(answered, pictures):
    told = answered("quantize", "demo-vit", *FEW, "--data", pictures)
    assert told["results"]["quantized"]["n"] == 4  # the other half calibrates
    assert told["places"] == [str(pictures)]


def test_a_recipe_file_says_everything(answered, vitq, tmp_path):
    table = {"blocks.0.attn.qkv": [8, 8], "blocks.0.attn.matmul1": [None, 6]}
    given = {
        "recipe": "adfq",
        "weight_bits": 3,
        "effort": "quick",
        "drop": 0.25,
        "iterations": 1,
        "bits": table,
    }
    for name in ("r.json", "r.toml"):
        (tmp_path / "given.json").write_text(json.dumps(given))
        asked = ("quantize", "demo-vit", "--calibration", "8", "--judged", "2")
        told = answered(*asked, "--recipe-file", tmp_path / "given.json", "--save-recipe", tmp_path / name)
        again = answered(*asked, "--recipe-file", tmp_path / name)
        assert again["known"] and again["run"] == told["run"]
    (record,) = RunStore().all()
    assert record.asked.recipe.options.reconstruction == {"drop": 0.25, "iterations": 1}
    assert record.asked.recipe.bits["blocks.0.attn.matmul1"] == (None, 6)


def test_segment_anything(answered):
    told = answered("quantize", "demo-sam", "--calibration", "1", "--judged", "1")
    assert told["recipe"] == "ptq4sam" and 0 < told["results"]["quantized"]["box_iou"][0] <= 1
    assert answered("quantize", "demo-sam", "--calibration", "1", "--judged", "1")["known"]


def test_nothing_else_stands_on_stdout(vitq):
    done = vitq("quantize", "demo-vit", *FEW, "--json")
    json.loads(done.stdout)
    assert "Ranges too narrow" in done.stderr  # what to mind goes where people read it


def test_the_model_given_is_untouched(vitq):
    before = {name: each.clone() for name, each in loaded("demo-vit").module.state_dict().items()}
    vitq("quantize", "demo-vit", *FEW)
    for name, each in loaded("demo-vit").module.state_dict().items():
        assert torch.equal(each, before[name])


def test_stopped_while_it_learns_it_goes_on(vitq, answered, home, monkeypatch):
    asked = ("quantize", "demo-vit", "--recipe", "repq", "--set", "iterations=1", "--set", "batch_size=2",
             "--set", "pictures=2", "--calibration", "2", "--judged", "2")  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr(Work, "stop", lambda work: work.kept.startswith("3 of"))
        stopped = vitq(*asked, code=130)
    assert "3 of" in stopped.stderr and "the same command goes on from there" in stopped.stderr
    saved = len(list((home / "runs").rglob("*.safetensors")))
    total = int(re.search(r"3 of (\d+)", stopped.stderr)[1])
    assert RunStore().all() == [] and 3 <= saved < total
    learned = []
    learn = reconstruct.learn
    monkeypatch.setattr(reconstruct, "learn", lambda *given: learned.append(given) or learn(*given))
    assert answered(*asked)["known"] is False
    assert len(learned) == total - saved  # the others were taken over
    assert list((home / "runs").rglob("*.safetensors")) == []


def test_made_from_noise(answered, monkeypatch):
    monkeypatch.setattr("vitq_core.experiment.generated.ITERATIONS", 1)
    told = answered(
        "quantize", "demo-vit", *FEW[:2], "--calibration", "2", "--judged", "2", "--data", "generated"
    )
    assert told["pictures"] == "generated"
