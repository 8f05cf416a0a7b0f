"""Sizes are those of the tensors that are written."""

import pytest

import vitq_core as vq
from vitq_core.graph.prepared import prepare
from vitq_core.quantized.cost import float_bytes, kept_float_bytes, quantized_bytes, scale_count
from vitq_core.quantized.tensors import float_tensors


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_bytes_by_hand(model, images, bits: int) -> None:
    """minmax: codes of every weight row packed, a scale and a zero point (a byte) a row and per input."""
    simulation = vq.quantize(model, images, vq.recipe("minmax", bits, bits)).model.vitq
    expected = 0
    for layer in simulation.layers.values():
        expected += len(layer.inputs) * 5
        if layer.weight is not None:
            rows, count = len(simulation.float_weight(layer.name)), layer.params
            expected += count * bits // 8 + 5 * rows + 4 * simulation.layer(layer.name).bias.numel()
    norms_and_tokens = 2 * 16 * 5 + 16 + 5 * 16
    assert quantized_bytes(simulation) == expected + 4 * norms_and_tokens


def test_float_bytes(tiny) -> None:
    assert float_bytes(tiny(qkv_bias=False)) == float_bytes(tiny()) - 4 * 3 * 16


def test_float_tensors_are_everything_but_the_quantized_weights(mixture, pictures) -> None:
    simulation = vq.quantize(mixture, pictures(mixture, 2), "minmax").model.vitq
    weights = {f"{layer.name}.weight" for layer in simulation.layers.values() if layer.weight is not None}
    assert set(float_tensors(simulation)) == set(mixture.state_dict()) - weights


def test_scales_of_a_layer(model) -> None:
    """A weight has one for each row, an input one for each normalized channel or one at all."""
    prepared = prepare(model, "relevance", None)
    expected = {
        "patch_embed.proj": 16 + 1,
        "blocks.0.attn.qkv": 48 + 16,
        "blocks.0.attn.matmul1": 2,
        "blocks.0.attn.matmul2": 2,
        "blocks.0.attn.proj": 16 + 1,
        "blocks.0.mlp.fc1": 32 + 16,
        "blocks.0.mlp.fc2": 16 + 1,
        "head": 5 + 1,
    }
    assert {name: scale_count(prepared, prepared.layers[name]) for name in expected} == expected


def test_float_bytes_are_what_no_layer_quantizes(model) -> None:
    prepared = prepare(model, "relevance", None)
    weights = {f"{name}.weight" for name in prepared.names}
    kept = sum(p.numel() for name, p in model.named_parameters() if name not in weights)
    assert kept_float_bytes(prepared) == 4 * kept > 0
