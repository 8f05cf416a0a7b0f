"""Shift-log2: the formula against a plain loop, what happens around the minimum, the plateau."""

from itertools import pairwise
from math import inf, log2

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from vitq_core.quantizers import ShiftLog2, Uniform
from vitq_core.quantizers.shift_log2 import EPSILON
from vitq_core.quantizers.statistics import PERCENTILES


def post_gelu(*shape: int, seed: int = 0) -> Tensor:
    return functional.gelu(2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed)))


def naive_exponent(x: float, minimum: float, scale: float, base: float) -> float:
    shifted = x - minimum + EPSILON
    return inf if shifted <= 0 else -log2(shifted / scale) / log2(base)


def naive_value(x: float, minimum: float, scale: float, base: float, bits: int) -> float:
    """``x' = x − m + ε``, the log quantizer, ``x̂ = x̂' + m − ε``."""
    exponent = naive_exponent(x, minimum, scale, base)
    shifted = 0.0 if exponent >= 2**bits - 0.5 else scale * base ** -max(round(exponent), 0)
    return shifted + minimum - EPSILON


@pytest.mark.parametrize("base", [2**0.5, 2.0])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_formula(bits: int, base: float) -> None:
    x = post_gelu(400)
    quantizer = ShiftLog2(bits, base).fit(x)
    minimum, scale = float(quantizer.minimum), float(quantizer.scale)
    assert minimum == x.min()
    sure = []
    for value in [*x.tolist(), 0.0, 100.0, minimum - 1.0]:
        exponent = naive_exponent(value, minimum, scale, base)
        far = value - minimum > 1e-2  # nearer, float32 cannot tell x − m from its neighbour's
        if value < minimum or (far and abs(exponent % 1.0 - 0.5) > 1e-3):
            sure.append(value)
    assert len(sure) > 200
    expected = torch.tensor([naive_value(v, minimum, scale, base, bits) for v in sure], dtype=torch.float64)
    torch.testing.assert_close(quantizer(torch.tensor(sure)).double(), expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("bits", [3, 8])
def test_search_takes_the_percentile_of_least_error(bits: int, seed: int) -> None:
    x = post_gelu(6000, seed=seed)
    minimum = float(x.min())
    errors = {}
    for p in PERCENTILES:
        scale = float(torch.quantile(x, p)) - minimum + EPSILON
        simulated = torch.tensor([naive_value(v, minimum, scale, 2**0.5, bits) for v in x.tolist()])
        errors[scale] = float((simulated.double() - x).square().mean())
    assert ShiftLog2(bits).fit(x).scale.item() == pytest.approx(min(errors, key=errors.get), rel=1e-5)


def test_at_and_below_the_minimum_the_value_is_the_minimum() -> None:
    quantizer = ShiftLog2(4).fit(post_gelu(1000))
    below = quantizer.minimum - torch.tensor([0.0, 1e-3, 1.0, 1e6])
    torch.testing.assert_close(quantizer(below), quantizer.minimum.expand(4), atol=2e-6, rtol=0)
    assert (quantizer.encode(below) == 2**4).all()


def test_negative_values_keep_their_sign() -> None:
    """The point of the shift: GELU's shallow negative part does not become zero."""
    x = post_gelu(4000)
    y = ShiftLog2(4).fit(x)(x)
    assert (y[x < -0.16] < 0).all()
    assert (y[x < -0.16] - x[x < -0.16]).abs().max() < 0.02


def test_the_default_base_is_the_better_one() -> None:
    x = post_gelu(8, 30, 40)
    assert ShiftLog2(4).fit(x).sqnr_db > ShiftLog2(4, base=2.0).fit(x).sqnr_db + 3


def test_more_bits_stop_helping_near_20_decibels() -> None:
    x = post_gelu(8, 30, 40)
    noise = {bits: ShiftLog2(bits).fit(x).sqnr_db for bits in (4, 5, 6, 7, 8)}
    assert all(18.5 < decibels < 21.5 for decibels in noise.values()), noise
    assert max(noise.values()) - min(noise.values()) < 0.5
    assert Uniform(8).fit(x).sqnr_db > noise[8] + 10  # where uniform codes go on gaining


@pytest.mark.parametrize("seed", range(3))
def test_a_fitted_base_is_never_worse_and_gains_with_bits(seed: int) -> None:
    x = post_gelu(6000, seed=seed)
    fitted = [ShiftLog2(bits, base="fitted").fit(x) for bits in range(2, 9)]
    errors = [float((quantizer(x).double() - x).square().mean()) for quantizer in fitted]
    fixed = [float((ShiftLog2(bits).fit(x)(x).double() - x).square().mean()) for bits in range(2, 9)]
    assert all(ours <= theirs * (1 + 1e-6) for ours, theirs in zip(errors, fixed, strict=True))
    assert all(more < 0.7 * fewer for fewer, more in pairwise(errors)), "no plateau"
