"""The audit notices whatever makes a model less quantized than its recipe says, and nothing else."""

from copy import deepcopy

import pytest
import torch
from torch import nn

import vitq_core as vq
from vitq_core.common.batch import Batch
from vitq_core.quantized.audit import audit
from vitq_core.quantized.simulation import InputQuantizers
from vitq_core.quantizers import LogSqrt2

LAYER = "blocks.1.mlp.fc1"


@pytest.fixture
def result(model, images) -> vq.QuantizeResult:
    return vq.quantize(model, images, "repq")


def remove_hook(layer: nn.Module) -> None:
    layer._forward_pre_hooks.clear()


def remove_weight_simulation(layer: nn.Module) -> None:
    nn.utils.parametrize.remove_parametrizations(layer, "weight")


def replace_quantizer(layer: nn.Module) -> None:
    layer.input_quantizers[0] = LogSqrt2(4).fit(torch.rand(9))


def replace_weight_quantizer(layer: nn.Module) -> None:
    layer.parametrizations.weight[0].quantizer = LogSqrt2(4).fit(torch.rand(9))


def change_bits(layer: nn.Module) -> None:
    layer.input_quantizers[0].bits = 8


def change_weight_bits(layer: nn.Module) -> None:
    layer.parametrizations.weight[0].quantizer.bits = 8


def unfit(layer: nn.Module) -> None:
    layer.input_quantizers[0].scale = None


def unfit_weight(layer: nn.Module) -> None:
    layer.parametrizations.weight[0].quantizer.scale = None


def change_weight(layer: nn.Module) -> None:
    layer.parametrizations.weight.original.data[0, 0] += 1


def show_float_weight(layer: nn.Module) -> None:
    layer.parametrizations.weight[0].simulated = None


def change_weight_scale(layer: nn.Module) -> None:
    layer.parametrizations.weight[0].quantizer.scale *= 1.5


def take_quantizers(layer: nn.Module) -> None:
    layer.input_quantizers = InputQuantizers([], [])


def delete_quantizers(layer: nn.Module) -> None:
    del layer.input_quantizers


DAMAGES = {
    remove_hook: "the inputs of blocks.1.mlp.fc1 are not quantized",
    remove_weight_simulation: "the weight of blocks.1.mlp.fc1 is not quantized",
    replace_quantizer: "blocks.1.mlp.fc1:input has LogSqrt2 in place of uniform",
    replace_weight_quantizer: "blocks.1.mlp.fc1",
    change_bits: "blocks.1.mlp.fc1:input has 8 bits in place of 4",
    change_weight_bits: "blocks.1.mlp.fc1",
    unfit: "the quantizer of blocks.1.mlp.fc1:input is not fitted",
    unfit_weight: "blocks.1.mlp.fc1",
    change_weight: "the weight of blocks.1.mlp.fc1 changed after it was quantized",
    show_float_weight: "the weight of blocks.1.mlp.fc1 changed",
    change_weight_scale: "the weight of blocks.1.mlp.fc1 changed",
    take_quantizers: "blocks.1.mlp.fc1 does not have a quantizer for each input",
    delete_quantizers: "blocks.1.mlp.fc1 does not have a quantizer for each input",
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damage_is_named(result, images, damage) -> None:
    audit(result.model, Batch((images,)))
    damage(result.model.get_submodule(LAYER))
    with pytest.raises(vq.VitqError, match="not quantized as recipe 'repq' says: .*" + DAMAGES[damage]):
        audit(result.model, Batch((images,)))
    with pytest.raises(vq.VitqError, match="not quantized as recipe"):
        vq.evaluate(result.model, [images])


def test_a_quantizer_that_is_bypassed_is_named(result, images) -> None:
    result.model.blocks[0].attn.matmul2.forward = lambda a, b: a @ b
    audit(result.model, Batch((images,)))  # its inputs still go through the quantizers
    result.model.blocks[0].attn.forward = lambda x, **_: x
    with pytest.raises(
        vq.VitqError, match=r"quantizer of blocks.0.attn.qkv:input is never used \(and \d+ more\)"
    ):
        audit(result.model, Batch((images,)))


def test_detached_it_is_not_quantized(result, images) -> None:
    result.model.vitq.detach()
    with pytest.raises(vq.VitqError, match=r"the inputs of patch_embed\.proj are not quantized"):
        audit(result.model, Batch((images,)))


def test_it_leaves_nothing_behind(result, images) -> None:
    hooks = [dict(module._forward_hooks) for module in result.model.modules()]
    audit(result.model, Batch((images,)))
    assert [dict(module._forward_hooks) for module in result.model.modules()] == hooks


def test_a_copy_passes_and_is_its_own(result, images) -> None:
    copy = deepcopy(result.model)
    audit(copy, Batch((images,)))
    with torch.no_grad():
        assert torch.equal(copy(images), result(images))
    assert copy.vitq.module is copy
    change_weight(copy.get_submodule(LAYER))
    change_bits(copy.get_submodule(LAYER))
    with pytest.raises(vq.VitqError):
        audit(copy, Batch((images,)))
    audit(result.model, Batch((images,)))
    remove_hook(result.model.get_submodule("head"))
    with pytest.raises(vq.VitqError, match=LAYER):
        audit(copy, Batch((images,)))


def test_evaluation_runs_it_for_both_models(result, model, images) -> None:
    assert vq.evaluate(result.model, [images], reference=model).n == len(images)
    change_bits(result.model.get_submodule(LAYER))
    with pytest.raises(vq.VitqError, match="8 bits in place of 4"):
        vq.evaluate(model, [images], reference=result.model)


def test_a_layer_that_runs_without_a_quantizer_is_named(result, images) -> None:
    del result.model.vitq.layers["blocks.0.attn.matmul1"]
    with pytest.raises(vq.VitqError, match=r"blocks\.0\.attn\.matmul1 runs and has no quantizer"):
        audit(result.model, Batch((images,)))


def test_nothing_quantized_is_no_success(result, images) -> None:
    result.model.vitq.layers.clear()
    with pytest.raises(vq.VitqError, match="none of its layers has a quantizer"):
        audit(result.model, Batch((images,)))


def test_a_layer_that_never_runs_needs_no_quantizer(tiny, pictures) -> None:
    model = tiny(depth=2)
    model.head_dist = nn.Linear(16, 5)
    images = pictures(model)
    result = vq.quantize(model, images, "minmax")
    assert "head_dist" not in result.bits
    audit(result.model, Batch((images,)))
