"""What the tests of whole runs share: short recipes, and what must be true of every result."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import vitq_core as vq
from vitq_core.common.batch import Batch
from vitq_core.graph.site import Unit
from vitq_core.quantized.audit import audit
from vitq_core.quantized.report import UnitRow
from vitq_core.reconstruction.weighting import weights_of

from .stored import kept

CHUNK = 32
QUICK = {"effort": "quick", "iterations": 3, "batch_size": 8, "autocast": False}
UNITS = ["patch_embed.proj", "blocks.0.attn", "blocks.0.mlp", "blocks.1.attn", "blocks.1.mlp", "head"]


def quick(name: str = "repq", weight_bits: int = 4, act_bits: int = 4, **options) -> vq.Recipe:
    return vq.recipe(name, weight_bits, act_bits, **{**QUICK, **options})


def state_of(result: vq.QuantizeResult, unit: str = "") -> dict[str, Tensor]:
    module = result.model.get_submodule(unit)
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    assert one.keys() == other.keys()
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def same(one: vq.QuantizeResult, other: vq.QuantizeResult, images: Tensor) -> bool:
    """Bit for bit: tensors, outputs, and what is reported of the units apart from the time."""
    rows = [[replace(row, seconds=0.0) for row in result.report.units] for result in (one, other)]
    with torch.no_grad():
        outputs = torch.equal(one(images), other(images))
    return outputs and rows[0] == rows[1] and equal(state_of(one), state_of(other))


def output_of(model: nn.Module, unit: str, images: Tensor) -> Tensor:
    found: list[Tensor] = []
    hook = model.get_submodule(unit).register_forward_hook(lambda _, x, y: found.append(y.clone()))
    with torch.no_grad():
        for chunk in images.split(CHUNK):
            model(chunk)
    hook.remove()
    return torch.cat(found)


def error_of(result: vq.QuantizeResult, model: nn.Module, unit: str, images: Tensor) -> float:
    """``‖O − Ô‖² / ‖O‖²`` in whole forwards of the model that was given and of the result, weighed as the
    recipe says."""
    target = output_of(model, unit, images).double()
    noise = output_of(result.model, unit, images) - target
    weights = weights_in(result, model, unit, images, target)
    return float((weights * noise.square()).sum() / (weights * target.square()).sum())


def weights_in(
    result: vq.QuantizeResult, model: nn.Module, unit: str, images: Tensor, target: Tensor
) -> Tensor:
    schedule = result.recipe.options.schedule
    weighting = schedule.weighting if schedule and unit else "none"
    blocks = result.model.vitq.family.blocks(result.model)
    found = weights_of(weighting, model, [Unit(unit)], blocks, kept(images), 0).get(unit)
    return torch.ones(()) if found is None else found(target)


def assert_reported(result: vq.QuantizeResult, model: nn.Module, images: Tensor) -> None:
    for row in result.report.units:
        assert 0 < row.error_after <= row.error_before
        assert (row.outcome == "reconstructed") == (row.error_after < row.error_before)
        assert row.outcome == "reconstructed" or row.outcome.startswith("kept as it was: ")
        assert error_of(result, model, row.unit, images) == pytest.approx(row.error_after, rel=1e-3), row
        assert len(row.losses) == row.iterations and row.seconds > 0


def assert_began_as_calibrated(result: vq.QuantizeResult, model: nn.Module, images: Tensor) -> None:
    first, calibrated = result.report.units[0], vq.quantize(model, images, calibration(result.recipe))
    assert error_of(calibrated, model, first.unit, images) == pytest.approx(first.error_before, rel=1e-3)


def calibration(recipe: vq.Recipe) -> vq.Recipe:
    options = {**recipe.options, "effort": "none", "reconstruction": {}}
    return replace(recipe, options=vq.Options(**options))


def assert_saves(result: vq.QuantizeResult, images: Tensor, folder: Path) -> None:
    """And loads bit for bit."""
    loaded = vq.load_quantized(vq.save_quantized(result, folder))
    assert (loaded.report.units, loaded.report.cancelled) == (result.report.units, result.report.cancelled)
    assert all(isinstance(row, UnitRow) and isinstance(row.losses, tuple) for row in loaded.report.units)
    assert loaded.recipe == result.recipe
    audit(loaded.model, Batch((images,)))
    with torch.no_grad():
        assert torch.equal(loaded(images), result(images))
