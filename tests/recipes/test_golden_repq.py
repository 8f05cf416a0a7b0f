"""RepQ-ViT on the tiny model of tests/golden: scales, zero points and logits of the authors' own code."""

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

import vitq_core as vq

GOLDEN = "repq_and_quantizers.npz"
TOLERANCE = 1e-3  # relative


def distance(actual: Tensor, expected: Tensor) -> float:
    return float((actual - expected).abs().max() / expected.abs().max().clamp_min(1e-6))


def test_float_logits(golden_model: VisionTransformer, golden: dict[str, Tensor]) -> None:
    with torch.no_grad():
        assert distance(golden_model(golden["x"]), golden["fp.logits"]) < TOLERANCE


@pytest.mark.parametrize("bits", [8, 6, 4])
def test_repq(golden_model: VisionTransformer, golden: dict[str, Tensor], bits: int) -> None:
    result = vq.quantize(golden_model, golden["calib"], vq.recipe("repq", bits, bits))
    with torch.no_grad():
        logits = result(golden["x"])
    prefix = f"repq.w{bits}a{bits}."
    assert distance(logits, golden[prefix + "logits"]) < TOLERANCE
    assert distance(logits, golden["fp.logits"]) > TOLERANCE, "quantization must be seen"
    expected = {name: value for name, value in golden.items() if name.startswith(prefix + "blocks.")}
    assert len(expected) == 2 * 3 * 4
    for name, value in expected.items():
        layer, _, parameter = name.removeprefix(prefix).rpartition(".")
        actual = getattr(result.model.get_submodule(layer).input_quantizers[0], parameter)
        assert distance(actual, value) < TOLERANCE, name
