"""FQ-ViT on the tiny model of tests/golden: scales, zero points and logits of the authors' own code."""

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

import vitq_core as vq

GOLDEN = "fqvit.npz"
TOLERANCE = 1e-3  # of the largest logit
DEPTH = 2
# {setting: (bits, options)}; the published code has its softmax of whole numbers in the last batch already.
SETTINGS = {
    "w8a8s4": (8, {}),
    "w8a8s8": (8, {"softmax_bits": 8}),
    "w6a6s4": (6, {}),
    "w8a8s4.omse": (8, {"observer": "omse"}),
    "w8a8s4.percentile": (8, {"observer": "percentile"}),
    "w8a8s4.ema": (8, {"observer": "ema"}),
    "w8a8s4.nolis": (8, {"lis": False}),
    "w8a8s4.noptf": (8, {"ptf": False}),
    "w8a8s8.noptf_nolis": (8, {"ptf": False, "lis": False, "softmax_bits": 8}),
}
# {the authors' name: ours}, of the model and of a block
WHOLE = {
    "qact_input": "patch_embed.proj:input",
    "patch_embed.qact": "patch_embed:output",
    "qact_embed": "embed_cat:output",
    "qact_pos": "embed_add:input2",
    "qact1": "embed_add:output",
    "qact2": "head:input",
    "act_out": "head:output",
}
BLOCK = {
    "qact1": "attn.qkv:input",
    "attn.qact1": "attn.qkv:output",
    "attn.qact_attn1": "attn.softmax:input",
    "attn.qact2": "attn.proj:input",
    "attn.qact3": "attn.proj:output",
    "qact2": "add1:output",
    "qact3": "mlp.fc1:input",
    "mlp.qact1": "mlp.fc2:input",
    "mlp.qact2": "mlp.fc2:output",
    "qact4": "add2:output",
}
NAMES = WHOLE | {
    f"blocks.{index}.{theirs}": f"blocks.{index}.{ours}"
    for index in range(DEPTH)
    for theirs, ours in BLOCK.items()
}


def distance(actual: Tensor, expected: Tensor) -> float:
    return float((actual - expected).abs().max() / expected.abs().max())


def quantized(
    model: VisionTransformer, golden: dict[str, Tensor], setting: str, **more: object
) -> vq.QuantizeResult:
    bits, options = SETTINGS[setting]
    options = {"observed_batch": 4, "early_softmax": True, **options, **more}
    return vq.quantize(model, golden["calib"], vq.recipe("fq", bits, bits, **options))


@pytest.mark.parametrize("setting", SETTINGS)
def test_published_logits(golden_model, golden, setting: str) -> None:
    result, prefix = quantized(golden_model, golden, setting), f"fq.{setting}"
    x = golden[f"{prefix}.x"]
    with torch.no_grad():
        assert distance(golden_model(x), golden[f"{prefix}.fp_logits"]) < 1e-5
        assert distance(result(x), golden[f"{prefix}.logits"]) < TOLERANCE
    assert distance(golden[f"{prefix}.fp_logits"], golden[f"{prefix}.logits"]) > 10 * TOLERANCE


@pytest.mark.parametrize("setting", ["w8a8s4", "w6a6s4", "w8a8s4.omse"])
def test_published_scales_and_zero_points(golden_model, golden, setting: str) -> None:
    simulation = quantized(golden_model, golden, setting).model.vitq
    sites = {str(site): site for site in simulation.sites()}
    assert all(f"fq.{setting}.{name}.scale" in golden for name in NAMES)
    for name, ours in NAMES.items():
        quantizer, prefix = simulation.quantizer(sites[ours]), f"fq.{setting}.{name}"
        torch.testing.assert_close(
            quantizer.scale.flatten(), golden[f"{prefix}.scale"].flatten(), rtol=1e-5, atol=0
        )
        assert (quantizer.zero_point == golden[f"{prefix}.zero_point"]).all(), name


def test_parts_of_queries_keys_and_values_have_the_codes_of_their_layer(golden_model, golden) -> None:
    simulation = quantized(golden_model, golden, "w8a8s4").model.vitq
    sites = {str(site): simulation.quantizer(site) for site in simulation.sites()}
    whole = sites["blocks.0.attn.qkv:output"]
    for name in ("matmul1:input", "matmul1:input2", "matmul2:input2"):
        assert torch.equal(sites[f"blocks.0.attn.{name}"].scale, whole.scale)


def test_the_slip_of_the_published_code_is_an_option(golden_model, golden) -> None:
    x = golden["fq.w8a8s4.x"]
    plain = quantized(golden_model, golden, "w8a8s4", early_softmax=False)
    with torch.no_grad():
        assert distance(plain(x), golden["fq.w8a8s4.logits"]) > 10 * TOLERANCE
    unaffected = quantized(golden_model, golden, "w8a8s4.nolis", early_softmax=False)
    with torch.no_grad():
        assert distance(unaffected(golden["fq.w8a8s4.nolis.x"]), golden["fq.w8a8s4.nolis.logits"]) < TOLERANCE
