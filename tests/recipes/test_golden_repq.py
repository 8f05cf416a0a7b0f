"""RepQ-ViT on the tiny model of tests/golden: scales, zero points and logits of the authors' own code."""

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

import vitq_core as vq

GOLDEN = "repq_and_quantizers.npz"
TOLERANCE = 1e-3  # relative
NUDGE = 1e-7


def distance(actual: Tensor, expected: Tensor) -> float:
    return float((actual - expected).abs().max() / expected.abs().max().clamp_min(1e-6))


def test_float_logits(golden_model: VisionTransformer, golden: dict[str, Tensor]) -> None:
    with torch.no_grad():
        assert distance(golden_model(golden["x"]), golden["fp.logits"]) < TOLERANCE


def simulated(
    model: VisionTransformer, golden: dict[str, Tensor], bits: int, nudge: float
) -> dict[str, Tensor]:
    """The logits and every input quantizer's parameters, calibrated on pictures off by ``nudge``."""
    calib, x = (golden[name] * (1 + nudge * torch.randn(golden[name].shape)) for name in ("calib", "x"))
    result = vq.quantize(model, calib, vq.recipe("repq", bits, bits))
    prefix = f"repq.w{bits}a{bits}."
    with torch.no_grad():
        found = {"logits": result(x)}
    for name in golden:
        if name.startswith(prefix + "blocks."):
            layer, _, parameter = name.removeprefix(prefix).rpartition(".")
            quantizer = result.model.get_submodule(layer).input_quantizers[0]
            found[f"{layer}.{parameter}"] = getattr(quantizer, parameter)
    return found


@pytest.mark.parametrize("bits", [8, 6, 4])
def test_repq(golden_model: VisionTransformer, golden: dict[str, Tensor], bits: int) -> None:
    """A rounding tie flips with the last bit of an input, and so from processor to processor: what differs by
    more than the tolerance must also differ where the pictures are off by 1e-7."""
    found = simulated(golden_model, golden, bits, 0.0)
    assert distance(found["logits"], golden["fp.logits"]) > TOLERANCE, "quantization must be seen"
    assert len(found) == 1 + 2 * 3 * 4
    nudged = [simulated(golden_model, golden, bits, NUDGE) for _ in range(4)]
    for name, value in found.items():
        ties = max(distance(each[name], value) for each in nudged)
        assert distance(value, golden[f"repq.w{bits}a{bits}.{name}"]) < TOLERANCE + 2 * ties, name
