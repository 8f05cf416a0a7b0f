"""The LayerNorm of whole numbers: the authors' numbers, and near the norm in floating point."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from vitq_core.quantized.integer_norm import integer_layer_norm

GOLDEN = "baseline_quantizers.npz"


def test_published_values(golden: dict[str, Tensor]) -> None:
    given = {
        name: golden[f"fq.int_layernorm.{name}"]
        for name in ("input", "in_scale", "out_scale", "weight", "bias")
    }
    found = integer_layer_norm(*given.values())
    torch.testing.assert_close(found, golden["fq.int_layernorm"], rtol=1e-5, atol=1e-6)


def example(channels: int = 24) -> tuple[Tensor, Tensor]:
    """Tokens on a grid, and its scales."""
    generator = torch.Generator().manual_seed(0)
    scales = 0.02 * 2.0 ** torch.randint(0, 4, (channels,), generator=generator)
    return scales * torch.randint(-90, 90, (2, 7, channels), generator=generator), scales


def test_it_is_near_the_norm_in_floating_point() -> None:
    x, scales = example()
    weight, bias = torch.linspace(0.5, 2, 24), torch.linspace(-1, 1, 24)
    found = integer_layer_norm(x, scales, torch.tensor(0.01), weight, bias)
    exact = functional.layer_norm(x, (24,), weight, bias, 0.0)
    assert (found - exact).abs().max() < 0.06  # a multiplier of eight bits
    assert torch.equal((found / 0.01).round() * 0.01, found)


def test_without_weight_and_bias() -> None:
    x, scales = example()
    found = integer_layer_norm(x, scales, torch.tensor(0.01), None, None)
    assert torch.equal(
        found, integer_layer_norm(x, scales, torch.tensor(0.01), torch.ones(24), torch.zeros(24))
    )


@pytest.mark.parametrize("value", [0.0, 0.04])
def test_of_a_token_of_equal_channels_the_bias_comes_out(value: float) -> None:
    x, bias = torch.full((1, 8), value), torch.linspace(-0.5, 0.5, 8)
    found = integer_layer_norm(x, torch.full((8,), 0.02), torch.tensor(0.1), torch.ones(8), bias)
    torch.testing.assert_close(found[0], bias, atol=0.0501, rtol=0)
