"""Calibration pictures from noise: made once, the same again, judged by others, kept exactly."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import vitq_core as vq
from vitq_core.experiment import generated
from vitq_core.experiment.folders import folder_source
from vitq_core.experiment.generated import Generated, as_picture, calibration_of
from vitq_core.experiment.run import quantize_and_measure, refer
from vitq_core.experiment.runs import GENERATED, Asked
from vitq_core.experiment.runs.rerun import source_of
from vitq_core.pictures.preprocess import Preprocessing


@pytest.fixture
def source(tiny_model, folder) -> Generated:
    return Generated(tiny_model, folder_source(tiny_model, folder), iterations=1)


@pytest.mark.parametrize(
    "preprocessing",
    [
        Preprocessing(size=(16, 16), crop_pct=1),
        Preprocessing(size=(224, 224), crop_pct=0.875),
        Preprocessing(size=(33, 33), crop_pct=0.9, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
        Preprocessing(size=(48, 48), crop_pct=0.8, crop_mode="squash"),
        Preprocessing(size=(30, 40), crop_pct=0.9),
    ],
    ids=str,
)
def test_preprocessing_gives_the_pixels_again(preprocessing) -> None:
    mean, std = (torch.tensor(each).view(-1, 1, 1) for each in (preprocessing.mean, preprocessing.std))
    pixels = torch.rand(3, *preprocessing.size, generator=torch.Generator().manual_seed(0))
    found = preprocessing(as_picture((pixels - mean) / std, preprocessing)) * std + mean
    assert float((found - pixels).abs().max()) < 0.51 / 255


def test_they_are_made_once_and_judged_by_others(source, tiny_model, monkeypatch) -> None:
    first = source.calibration(3, seed=1)
    assert source.calibration(3, seed=1) is first
    again = replace(source, _made={}).calibration(3, seed=1)
    assert [sample.read().tobytes() for sample in again] == [sample.read().tobytes() for sample in first]
    assert source.held_out(4) == source.judging.held_out(4)
    assert {sample.label for sample in first} == {None} and len(first) == 3
    monkeypatch.setattr(generated, "KEPT", 2)
    for seed in range(4):
        source.calibration(1, seed)
    assert len(source._made) == 2


def test_a_source_is_known_by_how_it_makes_and_by_whom_it_is_judged(source) -> None:
    assert source.key != replace(source, iterations=2).key and source.key != source.judging.key
    assert source.judging.about in source.about and "from noise" in source.warning


def test_a_run_says_how_far_the_making_is_and_can_be_stopped(source, tiny_model) -> None:
    reference, heard = refer(tiny_model, source, 4), []
    told = {"progress": lambda share, said: heard.append((share, said))}
    measured = quantize_and_measure(tiny_model, source, reference, vq.recipe("minmax"), 3, **told)
    assert measured.result.report.pictures == 3 and measured.evaluation.n == 4
    shares = [share for share, _ in heard]
    assert shares == sorted(shares) and shares[-1] == 1
    making = [share for share, said in heard if said.startswith("Making pictures")]
    assert making and max(making) < 0.5
    with pytest.raises(vq.Cancelled):
        quantize_and_measure(
            tiny_model, source, reference, vq.recipe("minmax"), 2, seed=9, cancel=lambda: True
        )


def test_other_sources_are_asked_as_before(source) -> None:
    assert calibration_of(source.judging, 2, 0) == source.judging.calibration(2, 0)


def test_a_stored_run_finds_its_pictures_again() -> None:
    model = vq.load_model("demo-vit")
    found = source_of(Asked("demo-vit", vq.recipe("minmax"), 2, 2, pictures=GENERATED), model)
    assert isinstance(found, Generated) and found.judging.key == ("scenes", 64)
