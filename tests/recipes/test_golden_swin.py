"""RepQ-ViT on the tiny Swin of tests/golden: scales, zero points and logits of the authors' own code."""

import numpy as np
import pytest
import torch
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor

import vitq_core as vq

from ..swin import distance, golden, golden_swin

TOLERANCE = 1e-3  # relative
NUDGE = 1e-7
FACTORS = {"A_": 0, "B_": 1}


@pytest.fixture(scope="module")
def stored() -> dict[str, np.ndarray]:
    return golden("swin_repq")


@pytest.fixture(scope="module")
def model(stored: dict[str, np.ndarray]) -> SwinTransformer:
    return golden_swin(stored)


def test_float_logits(model: SwinTransformer, stored: dict[str, np.ndarray]) -> None:
    with torch.no_grad():
        assert distance(model(torch.from_numpy(stored["x"])), stored["fp.logits"]) < 1e-5


def simulated(model: SwinTransformer, stored: dict, bits: int, nudge: float) -> dict[str, Tensor]:
    """The logits and every input quantizer's parameters, by their published names, calibrated on pictures off
    by ``nudge``."""
    prefix = f"repq.w{bits}a{bits}."
    given = (torch.from_numpy(stored[name]) for name in (f"{prefix}calib", "x"))
    calib, x = (images * (1 + nudge * torch.randn(images.shape)) for images in given)
    result = vq.quantize(model, calib, vq.recipe("repq", bits, bits))
    with torch.no_grad():
        found = {f"{prefix}logits": result(x)}
    for name in stored:
        layer, _, parameter = name.removeprefix(prefix).rpartition(".")
        if name.startswith(prefix) and "." in name.removeprefix(prefix):
            quantizers = result.model.get_submodule(layer).input_quantizers
            quantizer = quantizers[FACTORS.get(parameter[:2], 0)]
            found[name] = getattr(quantizer, parameter[2:] if parameter[:2] in FACTORS else parameter)
    return found


@pytest.mark.parametrize("bits", [8, 6, 4])
def test_repq(model: SwinTransformer, stored: dict[str, np.ndarray], bits: int) -> None:
    """A rounding tie flips with the last bit of an input, and so from processor to processor: what differs by
    more than the tolerance must also differ where the pictures are off by 1e-7."""
    found = simulated(model, stored, bits, 0.0)
    assert distance(found[f"repq.w{bits}a{bits}.logits"], stored["fp.logits"]) > TOLERANCE
    assert len(found) == 1 + 2 * (1 + 4 * 4 + 1 + 1) + 4 * (4 + 3)
    nudged = [simulated(model, stored, bits, NUDGE) for _ in range(4)]
    for name, value in found.items():
        ties = max(distance(each[name], value) for each in nudged)
        assert distance(value.flatten(), stored[name].flatten()) < TOLERANCE + 2 * ties, name
