"""The commands that look at models: evaluate, relevance, importance, allocate, export, segment, models."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image

import vitq_core as vq
from vitq_core.cli import kept
from vitq_core.cli.certifying import FORMATS
from vitq_core.demo import scenes
from vitq_core.experiment import RunLengths
from vitq_core.experiment.measure import Batches
from vitq_core.experiment.runs import RunStore
from vitq_core.experiment.samples import builtin_source

from .conftest import FEW, loaded


@pytest.fixture
def photo(tmp_path):
    drawn = scenes.scene(0, scenes.HELD_OUT_SEED, 256)
    Image.fromarray(drawn.image).save(tmp_path / "photo.png")
    return tmp_path / "photo.png", drawn


def test_models_says_what_is_here(answered):
    found = {row["id"]: row for row in answered("models")}
    assert found["demo-vit"]["here"] is True and found["deit-tiny"]["here"] is False
    assert found["deit-tiny"]["parameters"] == 5_717_416


def test_evaluate_is_the_engines(answered, pictures):
    told = answered("evaluate", "demo-vit", "--data", pictures, "--reference", "demo-vit-outliers")
    assert told["n"] == 8 and told["top1"] == 1.0 and told["agreement"] == 1.0
    assert answered("evaluate", "demo-vit", "--data", pictures, "--held-out")["n"] == 4
    assert answered("evaluate", "demo-vit", "--data", pictures, "--limit", "3")["n"] == 3


def test_models_of_two_tasks_are_not_compared(vitq):
    assert "cannot be compared" in vitq("evaluate", "demo-vit", "--reference", "demo-sam", code=2).stderr


def test_importance_is_the_engines_and_resumes(answered, vitq, tmp_path):
    model = loaded("demo-vit")
    samples = builtin_source(model).calibration(6, 1)
    expected = vq.importance(model, Batches(samples, model.preprocess), "fisher")
    state, out = tmp_path / "s.state", tmp_path / "scores.json"
    told = answered(
        "importance",
        "demo-vit",
        "--source",
        "fisher",
        "--pictures",
        "6",
        "--seed",
        "1",
        "--state",
        state,
        "--out",
        out,
    )
    assert told["layer_scores"] == pytest.approx(expected.layer_scores, rel=1e-4)
    assert vq.Importance.load(out).pictures == 6 and json.loads(state.read_text())["state"]
    vitq(
        "importance", "demo-vit", "--source", "sqnr", "--pictures", "6", "--state", state, code=2
    )  # another's


def test_importance_as_a_table(vitq, tmp_path):
    vitq("importance", "demo-vit", "--pictures", "2", "--out", tmp_path / "s.csv")
    rows = list(csv.DictReader((tmp_path / "s.csv").open()))
    assert rows[0]["layer"] == "patch_embed.proj"
    assert sum(float(row["share"]) for row in rows) == pytest.approx(1)


@pytest.mark.parametrize("method", ["budget", "paper"])
def test_allocated_bits_become_a_model(answered, vitq, tmp_path, method):
    scores, recipe = tmp_path / "scores.json", tmp_path / "mixed.toml"
    vitq("importance", "demo-vit", "--pictures", "2", "--out", scores)
    told = answered(
        "allocate", "demo-vit", "--importance", scores, "--bits", "4", "--method", method, "--pictures", "4",
        "--save-recipe", recipe, "--out", tmp_path / "bits.json",
    )  # fmt: skip
    assert json.loads((tmp_path / "bits.json").read_text()) == told["bits"]
    assert told["cost"]["avg_weight_bits"] <= 4 + 0.3
    run = answered("quantize", "demo-vit", "--recipe-file", recipe, "--calibration", "4", "--judged", "4")
    assert run["results"]["bits"] == told["bits"]


def test_limits_that_do_nothing_are_refused(vitq, tmp_path):
    scores = tmp_path / "scores.json"
    vitq("importance", "demo-vit", "--pictures", "2", "--out", scores)
    asked = ("allocate", "demo-vit", "--importance", scores)
    assert "a limit" in vitq(*asked, code=2).stderr
    assert "whole" in vitq(*asked, "--method", "paper", "--bits", "4.5", code=2).stderr
    assert "0.01" in vitq(*asked, "--size-mb", "0.01", code=2).stderr  # and the nearest that can be
    assert "first_blocks" in vitq(*asked, "--bits", "4", "--first-blocks", "1", code=2).stderr


def test_relevance_writes_maps_and_scores(answered, tmp_path, photo):
    path, _ = photo
    told = answered(
        "relevance", "demo-vit", "--picture", path, "--target", "ring", "--out", tmp_path / "maps",
        "--scores", tmp_path / "s.json",
    )  # fmt: skip
    (row,) = told["pictures"]
    assert row["explained"] == "ring" and row["picture"] == "photo.png"
    drawn = np.asarray(Image.open(row["file"]).convert("RGB"), int)
    assert (
        drawn.shape == (384, 384, 3) and np.ptp(drawn[..., 0] - drawn[..., 2]) > 60
    )  # there is orange somewhere
    model = loaded("demo-vit")
    image = model.preprocess(Image.open(path))[None]
    own = vq.relevance(model, image, targets=model.labels.index("ring"))
    assert vq.Importance.load(tmp_path / "s.json").layer_scores == pytest.approx(own.layer_scores, rel=1e-4)


def test_relevance_of_a_run(answered):
    answered("quantize", "demo-vit", *FEW)
    told = answered("relevance", "last", "--limit", "2")
    assert [row["explained"] for row in told["pictures"]] == [row["shows"] for row in told["pictures"]]


@pytest.mark.parametrize("how", ["kept", "made again", "folder"])
def test_an_export_carries_its_certificate(answered, tmp_path, how):
    told = answered("quantize", "demo-vit", *FEW, "--out", tmp_path / "small")
    if how == "made again":
        kept.forget(RunStore().get(told["run"]).key)
    name = tmp_path / "small" if how == "folder" else told["run"]
    found = answered("export", name, "--format", "packed", "--out", tmp_path / how, "--limit", "4")
    assert found["format"] == "packed" and found["max_difference"] == 0 and found["n"] == 4
    assert json.loads((tmp_path / how / "certificate.json").read_text())["sha256"] == found["sha256"]
    assert len(RunStore().all()) == 1


def test_other_words_for_formats_are_formats():
    assert set(FORMATS.values()) <= set(vq.EXPORTERS) and not set(FORMATS) & set(vq.EXPORTERS)


def test_what_a_format_cannot_hold_is_wrong_input(vitq, tmp_path):
    vitq("quantize", "demo-vit", "--recipe", "repq", "--calibration", "2", "--judged", "2")
    assert "integer" in vitq("export", "last", "--format", "onnx", "--out", tmp_path / "no", code=2).stderr


@pytest.mark.parametrize("ending", ["png", "json"])
def test_a_mask_of_a_click(answered, tmp_path, photo, ending):
    path, drawn = photo
    thing = max(drawn.objects, key=lambda each: each.mask.sum())
    left, right, top, bottom = (
        *np.flatnonzero(thing.mask.any(0))[[0, -1]],
        *np.flatnonzero(thing.mask.any(1))[[0, -1]],
    )
    box = ",".join(map(str, (left, top, right + 1, bottom + 1)))
    out = tmp_path / f"mask.{ending}"
    told = answered("segment", "demo-sam", path, "--box", box, "--out", out)
    (own,) = vq.Segmenter(loaded("demo-sam")).segment(
        Image.open(path), [vq.Prompt(box=(left, top, right + 1, bottom + 1))]
    )
    found = RunLengths.from_coco(told["objects"][0]["segmentation"]).mask()
    assert np.array_equal(found, own.mask)
    written = (
        np.asarray(Image.open(out)) if ending == "png"
        else RunLengths.from_coco(json.loads(out.read_text())["objects"][0]["segmentation"]).mask()
    )  # fmt: skip
    assert np.array_equal(written.astype(bool), own.mask)


def test_several_objects_are_grey_levels(answered, tmp_path, photo):
    path, _ = photo
    told = answered(
        "segment",
        "demo-sam",
        path,
        "--box",
        "0,0,100,100",
        "--box",
        "120,120,250,250",
        "--out",
        tmp_path / "m.png",
    )
    numbered = np.asarray(Image.open(tmp_path / "m.png"))
    assert set(np.unique(numbered)) <= {0, 1, 2} and len(told["objects"]) == 2


def test_everything(answered, photo):
    path, _ = photo
    told = answered(
        "segment", "demo-sam", path, "--everything", "--points-per-side", "3", "--min-region", "4"
    )
    own = vq.segment_everything(loaded("demo-sam"), Image.open(path), 3, 4)
    assert [each["area"] for each in told["objects"]] == [int(mask.sum()) for mask in own.masks()]


def test_a_classifier_answers_no_prompts(vitq, photo):
    assert "demo-sam" in vitq("segment", "demo-vit", photo[0], "--point", "3,4", code=2).stderr


def test_devices(answered, vitq):
    assert answered("evaluate", "demo-vit", "--limit", "2", "--device", "cpu")["n"] == 2
    absent = "cuda" if not torch.cuda.is_available() else "cuda:99"
    assert (
        "device must be one of this machine's"
        in vitq("quantize", "demo-vit", "--device", absent, code=2).stderr
    )
