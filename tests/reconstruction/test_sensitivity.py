"""Gradients at outputs that are moved, against a loop over single pictures."""

import pytest
import torch
from torch import Tensor, nn

import vitq_core as vq
from vitq_core.data.calibration_set import CalibrationPictures
from vitq_core.data.store import Scratch
from vitq_core.graph.site import Unit
from vitq_core.reconstruction.sensitivity import NEAR, PERTURBED, perturbation_weights
from vitq_core.tasks import TASKS

from .stored import kept

UNITS = [Unit("blocks.0"), Unit("blocks.1.mlp"), Unit("head")]


@pytest.fixture
def fp_model(model, images):
    return vq.quantize(model, images, "minmax").model.vitq.fp_model()


def output_of(model: nn.Module, unit: str, images: Tensor) -> Tensor:
    found: list[Tensor] = []
    hook = model.get_submodule(unit).register_forward_hook(lambda _, __, output: found.append(output))
    with torch.no_grad():
        model(images)
    hook.remove()
    return found[0]


def answers_of(model: nn.Module, unit: str, images: Tensor, output: Tensor) -> Tensor:
    """Where ``unit`` gives ``output``."""
    hook = model.get_submodule(unit).register_forward_hook(lambda *_: output)
    answers = model(images)
    hook.remove()
    return answers


def test_weights_are_gradients_where_the_output_is_moved(fp_model, images) -> None:
    found = perturbation_weights(fp_model, UNITS, kept(images), 7)
    for unit in UNITS:
        generator = torch.Generator().manual_seed(7)
        clean, total = output_of(fp_model, unit.name, images), 0.0
        signs = torch.randint(2, clean.shape, generator=generator) * 2 - 1
        step = NEAR * clean.flatten(1).square().mean(1).sqrt()
        for picture, output, sign, size in zip(images, clean, signs, step, strict=True):
            moved = (output + size * sign)[None].requires_grad_()
            answer = answers_of(fp_model, unit.name, picture[None], moved)
            loss = (answer - fp_model(picture[None])).square().sum()
            total = total + torch.autograd.grad(loss, moved)[0][0].abs() / size
        torch.testing.assert_close(found[unit.name], total / total.mean(), rtol=1e-3, atol=1e-4)


def test_the_logits_themselves_all_count_alike(fp_model, images) -> None:
    found = perturbation_weights(fp_model, [Unit("head")], kept(images), 0)["head"]
    torch.testing.assert_close(found, torch.ones_like(found), rtol=1e-4, atol=1e-4)


def test_what_no_answer_hears_of_has_no_weight(fp_model, images) -> None:
    """The class token is pooled: of the last block's patches the answers know nothing."""
    found = perturbation_weights(fp_model, [Unit("blocks.1")], kept(images), 0)["blocks.1"]
    assert float(found[1:].abs().max()) == 0.0 and float(found[0].mean()) > 1


def test_only_so_many_pictures_are_moved(fp_model, pictures) -> None:
    images = pictures(fp_model, PERTURBED + 8)
    few = perturbation_weights(fp_model, UNITS, kept(images[:PERTURBED]), 0)
    for name, weights in perturbation_weights(fp_model, UNITS, kept(images), 0).items():
        assert torch.equal(weights, few[name])


def test_pictures_of_several_sizes_have_a_weight_for_each_channel(fp_model, images) -> None:
    """They come one at a time, and no place in one is that of another."""
    pictures = CalibrationPictures(images[:3], TASKS["classification"].collate, chunk=1)
    with Scratch() as scratch:
        alone = pictures.kept(3, scratch)
        channels = perturbation_weights(fp_model, [Unit("blocks.0")], alone, 0)["blocks.0"]
        assert channels.shape == (16,) and float(channels.mean()) == pytest.approx(1.0, rel=1e-5)
