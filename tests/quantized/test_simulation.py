"""Quantizers hang on the model and come down again; weights are quantized once; gradients pass."""

from copy import deepcopy
from io import BytesIO

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torch.nn.utils import parametrize
from torch.utils._pytree import tree_leaves

import vitq_core as vq
from vitq_core.common.batch import Batch
from vitq_core.graph import family_of
from vitq_core.graph.prepared import PreparedModel
from vitq_core.graph.tracing import trace_layers
from vitq_core.quantized.simulation import Simulation
from vitq_core.tasks import task_of

from ..sam import picture, prompted, tiny_sam


@pytest.fixture
def rewritten(model: VisionTransformer) -> VisionTransformer:
    copy = deepcopy(model).requires_grad_(False)
    family_of(copy).rewrite(copy)
    return copy


def simulation_of(module: VisionTransformer, images: Tensor, recipe: str = "percentile") -> Simulation:
    family = family_of(module)
    layers = trace_layers(module, family.sites(module), Batch((images[:1],)))
    prepared = PreparedModel(module, family, layers, tuple(images.shape[1:]), task_of(module))
    return Simulation(prepared, vq.recipe(recipe))


def assert_untouched(module: VisionTransformer, model: VisionTransformer, images: Tensor) -> None:
    assert torch.equal(module.state_dict()["head.weight"], model.state_dict()["head.weight"])
    assert module.state_dict().keys() == model.state_dict().keys()
    assert not any(m._forward_pre_hooks or hasattr(m, "input_quantizers") for m in module.modules())
    assert not any(parametrize.is_parametrized(m) for m in module.modules())
    with torch.no_grad():
        torch.testing.assert_close(module(images), model(images), rtol=1e-5, atol=1e-5)


def test_the_context_gives_the_float_model_back(rewritten, model, images) -> None:
    with simulation_of(rewritten, images) as simulation:
        assert simulation.attached
        for name, layer in simulation.layers.items():
            if layer.weight is not None:
                simulation.fit_weight(name)
        with torch.no_grad():
            assert not torch.allclose(rewritten(images), model(images), atol=1e-3)
    assert not simulation.attached
    assert_untouched(rewritten, model, images)


def test_also_after_an_error(rewritten, model, images) -> None:
    with pytest.raises(KeyError), simulation_of(rewritten, images):
        raise KeyError
    assert_untouched(rewritten, model, images)


def test_unfitted_quantizers_change_nothing(rewritten, model, images) -> None:
    with simulation_of(rewritten, images), torch.no_grad():
        torch.testing.assert_close(rewritten(images), model(images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("recipe", list(vq.RECIPES))
def test_outputs_are_those_of_quantized_operands(model, images, calibrating, recipe: str) -> None:
    """A layer of the result multiplies what its quantizers make of its inputs and its float weight."""
    result = vq.quantize(model, images, calibrating(recipe))
    simulation = result.model.vitq
    name = "blocks.0.mlp.fc2"
    layer, seen = simulation.layer(name), {}
    layer.register_forward_pre_hook(lambda m, x: seen.update(x=x[0].clone()), prepend=True)
    layer.register_forward_hook(lambda m, x, y: seen.update(y=y), prepend=True)  # before it is rounded
    with torch.no_grad():
        result(images)
    x_site, weight_site = simulation.layers[name].sites
    x = simulation.quantizer(x_site)
    weight = simulation.quantizer(weight_site)
    codes = x.encode(seen["x"]), weight.encode(simulation.float_weight(name))
    expected = x.decode(codes[0]) @ weight.decode(codes[1]).T + layer.bias
    torch.testing.assert_close(seen["y"], expected, rtol=1e-4, atol=1e-5)
    assert codes[1].unique().numel() <= 2**weight.bits


def test_calling_twice_and_with_other_batches_is_the_same(mixture, pictures, calibrating) -> None:
    images = pictures(mixture)
    result = vq.quantize(mixture, images, calibrating("adfq"))
    before = images.clone()
    with torch.no_grad():
        first = result(images)
        assert torch.equal(first, result(images))
        torch.testing.assert_close(
            torch.cat([result(x) for x in images.split(2)]), first, rtol=1e-3, atol=1e-3
        )
    assert torch.equal(images, before), "pictures are not written to"


def test_gradients_and_inference_mode_give_the_same_outputs(model, images) -> None:
    """In place without gradients, out of place with them."""
    result = vq.quantize(model, images, "repq")
    x = images.clone().requires_grad_()
    outputs = result(x)
    outputs.square().sum().backward()
    assert torch.isfinite(x.grad).all() and x.grad.abs().sum() > 0
    with torch.no_grad():
        torch.testing.assert_close(result(images), outputs.detach(), rtol=1e-4, atol=1e-5)
    with torch.inference_mode():
        torch.testing.assert_close(result(images), outputs.detach(), rtol=1e-4, atol=1e-5)


def test_nobody_sees_what_was_quantized_in_place(mixture, pictures, calibrating) -> None:
    images = pictures(mixture)
    assert_nothing_is_lost_in_place(vq.quantize(mixture, images, calibrating("adfq", 3, 3)), (images,))


@pytest.mark.parametrize("parts", [("encoder",), ("decoder",)])
def test_nor_in_segment_anything(calibrating, parts) -> None:
    """The norms of its decoder are read by the additions, too."""
    batch = prompted([picture(seed) for seed in range(2)])
    result = vq.quantize(tiny_sam(), [batch], calibrating("ptq4sam", 3, 3, parts=parts))
    assert_nothing_is_lost_in_place(result, (batch, False))


def assert_nothing_is_lost_in_place(result: vq.QuantizeResult, inputs: tuple) -> None:
    """Without gradients inputs may be overwritten; outputs must be those of a run that overwrites nothing."""
    with torch.no_grad():
        usual = tree_leaves(result.model(*inputs))
        for module in result.model.modules():
            if hasattr(module, "overwrite"):
                module.overwrite = [False] * len(module.overwrite)
        for one, other in zip(tree_leaves(result.model(*inputs)), usual, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_macs_and_params_are_counted_by_hand(model, images) -> None:
    layers = vq.quantize(model, images, "minmax").model.vitq.layers
    tokens, width, head = 5, 16, 8
    expected = {
        "patch_embed.proj": (4 * 3 * 64 * width, 3 * 64 * width),
        "blocks.0.attn.qkv": (tokens * width * 3 * width, 3 * width * width),
        "blocks.0.attn.matmul1": (2 * tokens * head * tokens, 0),
        "blocks.0.attn.matmul2": (2 * tokens * tokens * head, 0),
        "blocks.0.attn.proj": (tokens * width * width, width * width),
        "blocks.0.mlp.fc1": (tokens * width * 32, width * 32),
        "blocks.0.mlp.fc2": (tokens * 32 * width, 32 * width),
        "head": (width * 5, width * 5),
    }
    for name, (macs, params) in expected.items():
        assert (layers[name].macs, layers[name].params) == (macs, params), name
    assert len(layers) == 2 + 2 * 6


@pytest.mark.parametrize(
    "export",
    [
        lambda module, x: torch.export.export(module, (x,)),
        torch.jit.trace,
        lambda module, x: torch.onnx.export(module, (x,), BytesIO(), dynamo=False),
    ],
    ids=["export", "trace", "onnx"],
)
def test_what_records_it_as_float_arithmetic_is_told_so(model, images, export) -> None:
    result = vq.quantize(model, images, "minmax")
    with pytest.raises(vq.VitqError, match="cannot be exported yet"):
        export(result.model, images[:1])
    result.model(images)  # and it still runs
