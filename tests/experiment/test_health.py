"""Calibration pictures that are too few, alike or of another kind are told, and good ones are not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import vitq_core as vq
from vitq_core.experiment.folders import folder_source
from vitq_core.experiment.health import ALIKE, NEARER, Distances, Health, health
from vitq_core.experiment.likeness import FEWEST, features_of
from vitq_core.experiment.measure import Batches
from vitq_core.experiment.run import quantize_and_measure, refer

from .test_extremes import drawn


def cloud(count: int, seed: int) -> dict[str, torch.Tensor]:
    """Two views of pictures."""
    drawn = torch.randn(2, count, 12, generator=torch.Generator().manual_seed(seed))
    return dict(zip(("pooled", "tokens"), drawn, strict=True))


def checked(calibration: dict, extremes, tested: dict | None = None, judged=None) -> Health:
    return health(
        calibration,
        cloud(200, 99) if tested is None else tested,
        extremes,
        drawn(200, 99) if judged is None else judged,
    )


@pytest.mark.parametrize("seed", range(5))
def test_nothing_is_said_of_pictures_of_one_kind(seed) -> None:
    found = checked(cloud(32, seed), drawn(32, seed))
    assert found.warnings == () and found.repeated == 0
    assert found.nearer == pytest.approx(0.5, abs=0.15) and found.beyond == pytest.approx(1 / 33, rel=0.5)


def test_another_kind_is_told_with_its_number() -> None:
    other = {name: features + 4 for name, features in cloud(32, 0).items()}
    (said,) = checked(other, drawn(32, 0)).warnings
    assert said.startswith("Another kind: only 0 % of the test pictures")


def test_one_view_is_enough_to_be_another_kind() -> None:
    other = cloud(32, 0)
    other["tokens"] = other["tokens"] + 4
    assert checked(other, drawn(32, 0)).nearer < NEARER


def test_pictures_that_come_again_are_counted() -> None:
    again = {
        name: torch.cat([features] * 4) + 1e-3 * torch.randn(32, 12) for name, features in cloud(8, 0).items()
    }
    found = checked(again, drawn(32, 0))
    assert found.repeated == 24
    assert found.warnings[0].startswith("Alike: 24 of 32 calibration pictures")
    assert found.nearer > NEARER, "what is left of them is of one kind"
    assert replace(found, repeated=int(ALIKE * 32), beyond=0.03).warnings == ()


def test_too_few_pictures_and_narrow_ranges_are_told_apart() -> None:
    (few,) = checked(cloud(4, 0), drawn(4, 0)).warnings
    assert few.startswith("Ranges too narrow: in ") and few.endswith("Calibrate on more than 4 pictures.")
    (narrow,) = checked(cloud(32, 0), drawn(32, 0, spread=0.7)).warnings
    assert narrow.endswith("With 32 different pictures of one kind it would be 3 %.")


def test_what_cannot_be_told_is_none() -> None:
    few = cloud(FEWEST - 1, 99)
    found = checked(cloud(32, 0), drawn(32, 0), few, drawn(FEWEST - 1, 99))
    assert found.nearer is None and found.repeated is None and found.beyond is not None
    assert checked(cloud(3, 0), drawn(32, 0)).nearer is None
    assert health({}, {}, None, None) == Health(0) and Health(0).warnings == ()


def test_being_nearer_is_counted_over_all_choices() -> None:
    calibration, tested = cloud(5, 0)["pooled"], cloud(40, 1)["pooled"]
    pair = Distances.of(calibration, tested)
    generator, wins = torch.Generator().manual_seed(0), []
    for _ in range(2000):
        chosen = torch.randperm(39, generator=generator)[:5]
        wins.append((pair.across.amin(1) < pair.within[:, chosen].amin(1)).float().mean())
    assert pair.nearer(torch.ones(5, dtype=torch.bool)) == pytest.approx(
        float(torch.stack(wins).mean()), abs=0.01
    )


@pytest.mark.parametrize("count", [60, 100])
def test_there_may_be_more_calibration_pictures_than_test_pictures(count) -> None:
    found = health(cloud(count, 0), cloud(50, 1), drawn(count, 0), drawn(50, 1))
    assert found.warnings == () and 0.3 < found.nearer < 0.7


def test_a_run_tells_it_in_the_passes_that_it_makes_anyway(tiny_model, tmp_path, picture_folder) -> None:
    source = folder_source(tiny_model, picture_folder(tmp_path / "p", ["bee", "fox"], each=FEWEST))
    passed = []
    with tiny_model.module.register_forward_hook(lambda part, inputs, answer: passed.append(len(answer))):
        reference = refer(tiny_model, source, FEWEST)
        assert sum(passed) == FEWEST
        features = features_of(tiny_model, Batches(reference.samples, tiny_model.preprocess))
    assert len(features["pooled"]) == FEWEST == len(reference.extremes)
    found = quantize_and_measure(tiny_model, source, reference, vq.recipe("minmax"), 24).health
    assert found.pictures == 24 and found.repeated == 0 and found.warnings == ()
    assert found.beyond < 0.1 and 0.2 < found.nearer < 0.8


def test_pictures_given_twice_are_told_in_a_run(tiny_model, tmp_path, picture_folder) -> None:
    source = folder_source(tiny_model, picture_folder(tmp_path / "p", ["bee", "fox"], each=FEWEST))
    twice = replace(source, to_calibrate=source.to_calibrate[:8] * 2)
    reference = refer(tiny_model, twice, FEWEST)
    found = quantize_and_measure(tiny_model, twice, reference, vq.recipe("minmax"), 16).health
    assert found.repeated == 8 and found.warnings[0].startswith("Alike: 8 of 16")
