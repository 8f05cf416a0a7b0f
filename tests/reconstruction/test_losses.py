"""The losses as methods.md writes them; the written-out gradient of the divergence is autograd's."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from vitq_core.reconstruction.losses import attention_loss, output_error, output_loss, tempered


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def maps(seed: int) -> Tensor:
    return (3 * noise(4, 2, 5, 5, seed=seed)).softmax(-1)


@pytest.mark.parametrize("shape", [(4, 5, 6), (4, 5), (4, 3, 2, 2), (1, 1)])
def test_output_loss_is_summed_over_dimension_1_and_averaged_over_the_rest(shape: tuple[int, ...]) -> None:
    output, target = noise(*shape), noise(*shape, seed=1)
    squared = (output - target) ** 2
    torch.testing.assert_close(output_loss(output, target), squared.sum(1).mean())
    weights = noise(*shape[1:], seed=2).abs()
    torch.testing.assert_close(output_loss(output, target, weights), (squared * weights).sum(1).mean())
    torch.testing.assert_close(output_loss(output, target, torch.ones(shape[1:])), squared.sum(1).mean())


def test_output_error_is_noise_and_signal() -> None:
    output, target = noise(4, 5), noise(4, 5, seed=1)
    found = output_error(output, target)
    assert found == pytest.approx((float(((output - target) ** 2).sum()), float((target**2).sum())))


@pytest.mark.parametrize("temperature", [0.1, 1.0, 4.0])
def test_attention_loss_is_torchs_divergence_in_value_and_gradient(temperature: float) -> None:
    ours, twin, target = maps(0).requires_grad_(), maps(0).requires_grad_(), maps(1)
    loss = 3.0 * attention_loss(ours, tempered(target, temperature), temperature)
    shares = (target / temperature).softmax(-1)
    divergence = functional.kl_div((twin / temperature).log_softmax(-1), shares, reduction="sum")
    expected = 3.0 * divergence / len(target)
    torch.testing.assert_close(loss, expected)
    assert loss.item() > 0
    loss.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, twin.grad)
    assert ours.grad.abs().max() > 1e-6


def test_attention_loss_of_equal_maps_is_zero() -> None:
    ours = maps(0).requires_grad_()
    loss = attention_loss(ours, tempered(maps(0), 4.0), 4.0)
    loss.backward()
    assert abs(loss.item()) < 1e-12
    assert ours.grad.abs().max() < 1e-12


def test_nothing_given_is_written_over() -> None:
    ours, target = maps(0), tempered(maps(1), 4.0)
    attention_loss(ours, target, 4.0)
    assert torch.equal(ours, maps(0)) and torch.equal(target, tempered(maps(1), 4.0))
