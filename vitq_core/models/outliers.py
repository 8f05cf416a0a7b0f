"""ImageNet-like channel spread for models that lack it, put in by a function-preserving rescaling.

Small models trained on small pictures have no channel outliers, which are what the LayerNorm methods are for.
Here each LayerNorm channel is multiplied by s and the next layer's column divided by it: the same function,
harder to quantize.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..graph import family_of
from ..graph.rescaling import rescale_linear, rescale_norm

SIGMA = 0.8  # deviation of log s
OUTLIERS = 0.03  # share of the channels that are larger still
FACTOR = 8.0
MANTISSA = 5  # bits; at seed 0 no draw is within 200 roundings of a tie


def spread_channels(module: nn.Module, seed: int = 0) -> None:
    """In place: s log-normal with σ 0.8, 3 % of the channels 8 times larger. Outputs stay equal to 1e-4.

    Raises VitqError for a module of no known family.
    """
    generator = torch.Generator().manual_seed(seed)
    for pair in family_of(module).pairs(module):
        norm = module.get_submodule(pair.norm)
        divisor = 1.0 / _spread(norm.weight.numel(), generator)
        with torch.no_grad():
            rescale_norm(norm, divisor, torch.zeros_like(divisor))
            for name in pair.linears:
                linear = module.get_submodule(name)
                rescale_linear(linear, linear.weight, divisor, torch.zeros_like(divisor))


def _spread(channels: int, generator: torch.Generator) -> Tensor:
    scale = torch.exp(SIGMA * torch.randn(channels, generator=generator))
    chosen = torch.randperm(channels, generator=generator)[: max(1, round(OUTLIERS * channels))]
    scale[chosen] *= FACTOR
    return _few_bits(scale)


def _few_bits(scale: Tensor) -> Tensor:
    """Rounded to MANTISSA bits: the last bits of exp and of a normal draw differ from processor to processor,
    and the weights are to be the same everywhere."""
    fraction, exponent = torch.frexp(scale)
    steps = 2**MANTISSA
    return torch.ldexp((fraction * steps).round() / steps, exponent)
