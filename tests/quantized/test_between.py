"""Quantizers on the tensors between layers: only where a recipe names them, all used, all gone outside."""

import pickle
from copy import deepcopy

import pytest
import torch
from torch import nn

import vitq_core as vq
from tests.conftest import build, random_pictures
from tests.swin import pictures as swin_pictures
from tests.swin import tiny_swin
from vitq_core.common.batch import Batch
from vitq_core.graph.ops import Softmax
from vitq_core.quantized.audit import audit
from vitq_core.quantized.between import NAME, quantize_output
from vitq_core.quantized.integer_softmax import LogIntSoftmax
from vitq_core.quantizers import PowerOfTwo

MODELS = {
    "vit": (lambda: build(depth=2), random_pictures),
    "features": (lambda: build(depth=2, num_classes=0), random_pictures),
    "swin": (tiny_swin, swin_pictures),
}
every_model = pytest.mark.parametrize("kind", MODELS)
both = pytest.mark.parametrize("recipe", ["fq", "psaq"])


def made(kind: str, recipe: str) -> tuple[nn.Module, torch.Tensor, vq.QuantizeResult]:
    make, draw = MODELS[kind]
    model = make()
    images = draw(model, 6)
    return model, images, vq.quantize(model, images, vq.recipe(recipe, 8, 8))


def is_on_the_grid(quantizer, x: torch.Tensor) -> bool:
    return torch.allclose(quantizer(x), x, atol=1e-5, rtol=1e-5)


@every_model
@both
def test_every_tensor_between_layers_is_on_its_grid(kind: str, recipe: str) -> None:
    _, images, result = made(kind, recipe)
    simulation, seen = result.model.vitq, {}
    for site in simulation.between:
        if site.tensor == "output":
            part = simulation.layer(site.module)
            part.register_forward_hook(
                lambda _, given, output, site=site: seen.update({site: output.clone()})
            )
    with torch.no_grad():
        result(images)
    assert len(seen) > 12
    for site, x in seen.items():
        assert is_on_the_grid(simulation.quantizer(site), x), site


@every_model
def test_norms_and_softmaxes_compute_with_whole_numbers(kind: str) -> None:
    _, images, result = made(kind, "fq")
    simulation = result.model.vitq
    softmaxes = [part for part in simulation.module.modules() if isinstance(part, Softmax)]
    assert softmaxes and all(isinstance(part, LogIntSoftmax) for part in softmaxes)
    norms = simulation.prepared.between.norms
    expected = {name for name, part in simulation.module.named_modules() if isinstance(part, nn.LayerNorm)}
    assert {read.norm for read in norms} == expected - {"patch_embed.norm"}
    assert all(isinstance(simulation.quantizer(read.source), PowerOfTwo) for read in norms)
    seen = {}
    for read in norms:
        part = simulation.layer(read.norm)
        part.register_forward_hook(lambda _, given, output, read=read: seen.update({read: output.clone()}))
    with torch.no_grad():
        result(images)
    for read, output in seen.items():
        scale = simulation.quantizer(read.target).scale
        assert torch.allclose((output / scale).round() * scale, output, atol=1e-5), read.norm


@pytest.mark.parametrize("recipe", ["minmax", "repq", "vitq"])
def test_other_recipes_leave_them_alone(model, images, recipe: str) -> None:
    result = vq.quantize(model, images, vq.recipe(recipe, effort="none"))
    assert not result.model.vitq.between
    assert not any(hasattr(part, NAME) for part in result.model.modules())
    assert not any(isinstance(part, LogIntSoftmax) for part in result.model.modules())


@every_model
@both
def test_outside_the_context_nothing_of_it_is_left(kind: str, recipe: str) -> None:
    model, images, result = made(kind, recipe)
    simulation = result.model.vitq
    with torch.no_grad():
        expected = model(images)
        for plain in (simulation.fp_model(), simulation.plain_model()):
            torch.testing.assert_close(plain(images), expected, rtol=1e-4, atol=1e-5)
        simulation.detach()
        torch.testing.assert_close(simulation.module(images), expected, rtol=1e-4, atol=1e-5)
    assert not any(hasattr(part, NAME) or "grids" in vars(part) for part in simulation.module.modules())


@both
def test_copies_and_pickles_answer_the_same_and_alone(recipe: str) -> None:
    _, images, result = made("vit", recipe)
    with torch.no_grad():
        expected = result(images)
        copy = deepcopy(result.model)
        assert torch.equal(copy(images), expected)
        assert torch.equal(pickle.loads(pickle.dumps(result.model))(images), expected)
        getattr(copy.blocks[0].add1, NAME)["output"].scale.mul_(2)
        assert not torch.equal(copy(images), expected)
        assert torch.equal(result(images), expected)


def remove_hook(part: nn.Module) -> None:
    for key in [key for key, hook in part._forward_hooks.items() if hook is quantize_output]:
        del part._forward_hooks[key]


def remove_quantizer(part: nn.Module) -> None:
    delattr(part, NAME)


def unfit(part: nn.Module) -> None:
    getattr(part, NAME)["output"].scale = None


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (remove_hook, "blocks.0.add1:output is not quantized"),
        (remove_quantizer, "blocks.0.add1:output is not quantized"),
        (unfit, "the quantizer of blocks.0.add1:output is not fitted"),
    ],
)
def test_the_audit_sees_what_is_missing(spoil, sentence: str) -> None:
    _, images, result = made("vit", "fq")
    audit(result.model, Batch((images,)))
    spoil(result.model.blocks[0].add1)
    with pytest.raises(vq.VitqError, match=sentence):
        audit(result.model, Batch((images,)))


@both
def test_gradients_pass(recipe: str) -> None:
    _, images, result = made("vit", recipe)
    x = images.clone().requires_grad_()
    output = result.model(x)
    output.square().sum().backward()
    assert x.grad.isfinite().all() and x.grad.abs().max() > 0
    with torch.no_grad():
        torch.testing.assert_close(output, result(images), rtol=1e-3, atol=1e-4)
