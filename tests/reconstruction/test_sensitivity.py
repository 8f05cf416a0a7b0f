"""Gradients at moved outputs and at moved answers, each against a loop over single pictures."""

import pytest
import torch
from torch import Tensor, nn

import vitq_core as vq
from vitq_core.data.calibration_set import CalibrationPictures
from vitq_core.data.store import Scratch
from vitq_core.graph.site import Unit
from vitq_core.reconstruction.sensitivity import NEAR, NUDGES, PERTURBED, low_rank, perturbation_weights
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


def random(shape: torch.Size, seed: int = 3) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# -- outputs that are moved ----------------------------------------------------------------------------
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
        weights = perturbation_weights(fp_model, [Unit("blocks.0")], alone, 0)["blocks.0"]
        found = low_rank(fp_model, [Unit("blocks.0")], alone, 0)["blocks.0"]
        for channels in (weights, found.diagonal):
            assert channels.shape == (16,) and float(channels.mean()) == pytest.approx(1.0, rel=1e-5)
        clean = output_of(fp_model, "blocks.0", images[:3])
        assert [u.shape for u in found.factors[torch.tensor([2])]] == [(1, NUDGES, *clean.shape[1:])]
        squares = [found.factors[torch.tensor([row])][0][0].square().mean((0, 1)) for row in range(3)]
        expected = sum(squares) / 3
        torch.testing.assert_close(found.diagonal, expected / expected.mean(), rtol=1e-4, atol=1e-5)


# -- answers that are moved ----------------------------------------------------------------------------
def test_factors_are_gradients_at_answers_that_are_moved(fp_model, images) -> None:
    with Scratch() as scratch:
        found = low_rank(fp_model, UNITS, kept(images, scratch), 5)
        generator, logits = torch.Generator().manual_seed(5), fp_model(images).detach()
        size = logits.square().mean(1, keepdim=True).sqrt()
        moves = [NEAR * size * torch.randn(logits.shape, generator=generator) for _ in range(NUDGES)]
        for unit in UNITS:
            (factors,) = found[unit.name].factors[torch.arange(len(images))]
            clean = output_of(fp_model, unit.name, images)
            squares = torch.zeros_like(clean)
            for row, picture in enumerate(images):
                output = clean[row : row + 1].clone().requires_grad_()
                answer = answers_of(fp_model, unit.name, picture[None], output)
                for number, move in enumerate(moves):
                    # Of the mean over all pictures ‖f + v − f‖², whose gradient in f + v is 2 v / B.
                    slope = 2 * move[row : row + 1] / len(images)
                    u = torch.autograd.grad(answer, output, slope, retain_graph=True)[0]
                    torch.testing.assert_close(factors[row, number], u[0], rtol=1e-3, atol=1e-6)
                    squares[row] += u[0].square() / NUDGES
            diagonal = squares.mean(0)
            expected = diagonal / diagonal.mean()
            torch.testing.assert_close(found[unit.name].diagonal, expected, rtol=1e-3, atol=1e-4)


def test_an_error_without_direction_counts_as_its_square(fp_model, images) -> None:
    with Scratch() as scratch:
        index = torch.arange(len(images))
        for unit, found in low_rank(fp_model, UNITS, kept(images, scratch), 0).items():
            (factors,), clean = found.factors[index], output_of(fp_model, unit, images)
            ratios = []
            for seed in range(200):
                error = random(clean.shape, seed)
                squares = found.squares(error, factors).sum()
                diagonal = (found.diagonal * error.square()).sum() / 2
                ratios.append(float((squares + diagonal) / error.square().sum()))
            assert sum(ratios) / len(ratios) == pytest.approx(1.0, abs=0.1), unit


def test_an_error_that_no_answer_hears_of_is_none(fp_model, images) -> None:
    """Of a shift of all channels alike the norm behind the last block hears nothing, but each channel's own
    square does: that is what lies off the diagonal."""
    with Scratch() as scratch:
        found = low_rank(fp_model, [Unit("blocks.1")], kept(images, scratch), 0)["blocks.1"]
        (factors,) = found.factors[torch.arange(len(images))]
        error = random(output_of(fp_model, "blocks.1", images).shape)
        shift = torch.ones_like(error)
        heard, not_heard = (float(found.squares(each, factors).sum()) for each in (error, shift))
        assert not_heard < 1e-6 * heard
        assert float((found.diagonal * shift.square()).sum()) > 1
        error_and_signal = found.error(error, shift, factors)
        assert error_and_signal == pytest.approx((heard, not_heard), rel=1e-5, abs=1e-9)
