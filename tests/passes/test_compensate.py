"""Compensated weights: on their grid, nearer to full precision, for every kind of model."""

from dataclasses import replace

import pytest
import torch

import vitq_core as vq
from tests.conftest import VARIANTS
from vitq_core.data.calibration_set import CalibrationPictures

STEPS = ("calibrate", "compensate")


def recipe(*passes: str, **options) -> vq.Recipe:
    return replace(vq.recipe("minmax", 3, 8, **options), passes=passes)


def error(model: torch.nn.Module, result: vq.QuantizeResult, images: torch.Tensor) -> float:
    with torch.no_grad():
        expected = model(images)
        return float((result.model(images) - expected).square().sum() / expected.square().sum())


def test_every_kind_of_model(variant, pictures) -> None:
    """All weights lie on their grids, and the float model given stays."""
    images, before = pictures(variant, 5), {k: v.clone() for k, v in variant.state_dict().items()}
    result = vq.quantize(variant, images, recipe(*STEPS))
    simulation = result.model.vitq
    for layer in simulation.layers.values():
        if layer.weight is None:
            continue
        shown, quantizer = simulation.layer(layer.name).weight, simulation.quantizer(layer.weight)
        torch.testing.assert_close(quantizer.decode(quantizer.encode(shown)), shown)
    assert torch.isfinite(result.model(images)).all()
    assert all(torch.equal(tensor, before[name]) for name, tensor in variant.state_dict().items())


@pytest.mark.parametrize("kind", ["class token", "no head", "no qkv bias", "parallel"])
def test_outputs_come_nearer(tiny, pictures, kind: str) -> None:
    """On the pictures it saw; few outputs of a tiny model, so over several pictures and with room."""
    model = tiny(**VARIANTS[kind])
    images = pictures(model, 32)
    plain, compensated = (vq.quantize(model, images, recipe(*STEPS[:n])) for n in (1, 2))
    assert error(model, compensated, images) < 0.8 * error(model, plain, images)


def test_batches_do_not_matter(model, pictures) -> None:
    images = pictures(model, 12)
    one = vq.quantize(model, images, recipe(*STEPS))
    many = vq.quantize(model, iter(images.split(5)), recipe(*STEPS))
    assert torch.equal(one.model(images), many.model(images))


def test_a_file_holds_it(model, pictures, tmp_path) -> None:
    images = pictures(model, 4)
    result = vq.quantize(model, images, recipe(*STEPS))
    vq.save_quantized(result, tmp_path / "small.safetensors")
    loaded = vq.load_quantized(tmp_path / "small.safetensors")
    assert torch.equal(loaded.model(images), result.model(images))


def test_learning_goes_on_towards_full_precision(model, pictures) -> None:
    """The units' targets are the float model's outputs, not those of the compensated weights."""
    images = pictures(model, 31)
    settings = {"effort": "quick", "iterations": 30, "batch_size": 8}
    plain, compensated = (vq.quantize(model, images, recipe(*STEPS[:n], **settings)) for n in (1, 2))
    before, after = (sum(row.error_before for row in each.report.units) for each in (plain, compensated))
    assert after < before
    assert all(row.error_after <= row.error_before for row in compensated.report.units)
    assert error(model, compensated, images) < error(model, plain, images) * 1.2


def test_it_knows_as_many_pictures_where_learning_follows(model, pictures, monkeypatch) -> None:
    """Learning goes on from the weights that there would be without it, so it need not end below them."""
    seen = []
    kept = CalibrationPictures.kept
    monkeypatch.setattr(
        CalibrationPictures, "kept", lambda self, most, room: seen.append(most) or kept(self, most, room)
    )
    vq.quantize(model, pictures(model, 40), recipe(*STEPS, effort="quick", iterations=1, batch_size=8))
    assert seen == [128, 128]
