"""A finished run in a folder comes back as it was."""

import json

import pytest
import torch

import vitq_core as vq
from ui.parts.settings import RunSettings
from ui.parts.stored_outcome import RUN, load_outcome, store_outcome, stored_settings


@pytest.fixture
def outcome(bench, folder):
    settings = RunSettings(
        "tiny", "crl", 3, 3, (("clip_k", 2.0),), calibration=4, held_out=4, pictures="folder",
        folder=str(folder),
    )  # fmt: skip
    return bench.quantize(settings)


@pytest.fixture
def stored(outcome, tmp_path):
    store_outcome(outcome, tmp_path / "run")
    return tmp_path / "run"


def again(bench, outcome, stored):
    return load_outcome(stored, outcome.model, bench.source(outcome.settings))


def test_numbers_answers_and_pictures_are_those_of_the_run(bench, outcome, stored):
    loaded = again(bench, outcome, stored)
    assert loaded.stored
    assert loaded.settings == outcome.settings == stored_settings(stored)
    assert hash(loaded.settings) == hash(outcome.settings)
    assert loaded.result.report == outcome.result.report
    assert loaded.evaluation == outcome.evaluation
    assert loaded.reference.evaluation == outcome.reference.evaluation
    assert [s.name for s in loaded.reference.samples] == [s.name for s in outcome.reference.samples]
    assert torch.equal(loaded.logits, outcome.logits)
    assert torch.equal(loaded.reference.logits, outcome.reference.logits)
    assert loaded.health == outcome.health and loaded.warning == outcome.warning


def test_a_run_that_was_stored_before_there_was_health_is_read(bench, outcome, stored):
    run = json.loads((stored / RUN).read_text())
    del run["health"]
    (stored / RUN).write_text(json.dumps(run))
    assert again(bench, outcome, stored).health is None


def test_its_model_answers_like_the_one_that_was_stored(bench, outcome, stored):
    picture = torch.stack([outcome.model.preprocess(outcome.reference.samples[0].read())])
    with torch.inference_mode():
        assert torch.equal(again(bench, outcome, stored).result.model(picture), outcome.result.model(picture))


def test_where_there_is_no_run_there_are_no_settings(tmp_path):
    assert stored_settings(tmp_path) is None
    (tmp_path / RUN).write_text("{")
    assert stored_settings(tmp_path) is None
    (tmp_path / RUN).write_text(json.dumps({"settings": {"recipe": "crl"}}))
    assert stored_settings(tmp_path) is None


def test_a_damaged_run_is_refused(bench, outcome, stored):
    run = json.loads((stored / RUN).read_text())
    (stored / RUN).write_text(json.dumps({**run, "full": {"top9": 1}}))
    with pytest.raises(vq.VitqError, match=r"stored run in .* is damaged"):
        again(bench, outcome, stored)
