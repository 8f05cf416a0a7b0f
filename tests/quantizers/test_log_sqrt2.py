"""Log-√2: the formula and the search against plain loops, exact zeros, the plateau."""

from itertools import pairwise
from math import inf, log2

import pytest
import torch
from torch import Tensor

from vitq_core.quantizers import LogSqrt2
from vitq_core.quantizers.log_sqrt2 import BASES
from vitq_core.quantizers.statistics import PERCENTILES


def post_softmax(*shape: int, seed: int = 0) -> Tensor:
    return (3 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))).softmax(-1)


def naive_code(x: float, scale: float, base: float, bits: int) -> int:
    """``⌊−log_base(x/s)⌉`` within 0 .. 2^b, whose last stands for zero."""
    exponent = inf if x == 0 else -log2(x / scale) / log2(base)
    return 2**bits if exponent == inf else min(max(round(exponent), 0), 2**bits)


def naive_value(x: float, scale: float, base: float, bits: int) -> float:
    code = naive_code(x, scale, base, bits)
    return 0.0 if code == 2**bits else scale * base**-code


def near_tie(x: float, scale: float, base: float) -> bool:
    return x > 0 and abs(-log2(x / scale) / log2(base) % 1.0 - 0.5) < 1e-4


@pytest.mark.parametrize("base", [2**0.5, 2.0, 1.2])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_formula(bits: int, base: float) -> None:
    x = post_softmax(3, 10, 12)
    quantizer = LogSqrt2(bits, base).fit(x)
    scale = float(quantizer.scale)
    x = torch.cat((x.flatten(), torch.tensor([0.0, 1e-30, 1e-12, 2.0, scale])))
    sure = [value for value in x.tolist() if not near_tie(value, scale, base)]
    assert len(sure) > 0.98 * len(x)
    expected = torch.tensor([naive_value(value, scale, base, bits) for value in sure], dtype=torch.float64)
    torch.testing.assert_close(quantizer(torch.tensor(sure)).double(), expected, atol=1e-12, rtol=1e-5)
    codes = [naive_code(value, scale, base, bits) for value in sure]
    assert quantizer.encode(torch.tensor(sure)).tolist() == codes


def test_base_sqrt2_is_base_2_with_a_factor_for_odd_codes() -> None:
    """What integer hardware computes: 2^(−q/2) = 2^(−⌈q/2⌉) · (√2 if q is odd)."""
    quantizer = LogSqrt2(4).fit(post_softmax(3, 9, 9))
    codes = torch.arange(16)
    shifted = 2.0 ** -((codes + 1) // 2) * torch.where(codes % 2 == 1, 2**0.5, 1.0)
    torch.testing.assert_close(quantizer.decode(codes), quantizer.scale * shifted)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("bits", [3, 4, 8])
def test_search_takes_the_percentile_of_least_error(bits: int, seed: int) -> None:
    x = post_softmax(8, 40, 17, seed=seed)
    errors = {}
    for p in PERCENTILES:
        scale = float(torch.quantile(x, p))
        simulated = torch.tensor([naive_value(v, scale, 2**0.5, bits) for v in x.flatten().tolist()])
        errors[scale] = float((simulated.double() - x.flatten()).square().mean())
    assert LogSqrt2(bits).fit(x).scale.item() == pytest.approx(min(errors, key=errors.get), rel=1e-6)


def test_zero_has_its_own_code_and_comes_back_as_exactly_zero() -> None:
    quantizer = LogSqrt2(3).fit(post_softmax(3, 9, 9))
    x = torch.tensor([0.0, 1e-20, float(quantizer.scale) * 2**-4.0])
    assert quantizer.encode(x).tolist() == [8, 8, 8]
    assert quantizer(x).tolist() == [0.0, 0.0, 0.0]
    assert quantizer.levels()[0] == 0.0
    assert len(quantizer.levels()) == 9


def test_above_the_scale_everything_is_the_scale() -> None:
    quantizer = LogSqrt2(4).fit(post_softmax(3, 9, 9))
    x = quantizer.scale * torch.tensor([1.0, 1.1, 5.0])
    torch.testing.assert_close(quantizer(x), quantizer.scale.expand(3))


def test_more_bits_stop_helping_near_20_decibels() -> None:
    """The step near the top is √2 at any bits, so is the error; a finer base does gain."""
    x = post_softmax(8, 3, 40, 40)
    noise = {bits: LogSqrt2(bits).fit(x).sqnr_db for bits in (4, 5, 6, 7, 8)}
    assert all(19.0 < decibels < 21.5 for decibels in noise.values()), noise
    assert max(noise.values()) - min(noise.values()) < 0.5
    assert LogSqrt2(8, base=2**0.125).fit(x).sqnr_db > noise[8] + 8
    assert LogSqrt2(8, base=2.0).fit(x).sqnr_db < noise[8] - 3


@pytest.mark.parametrize("seed", range(3))
def test_a_fitted_base_is_never_worse_and_gains_with_bits(seed: int) -> None:
    x = post_softmax(8, 40, 17, seed=seed)
    fitted = [LogSqrt2(bits, base="fitted").fit(x) for bits in range(2, 9)]
    errors = [float((quantizer(x).double() - x).square().mean()) for quantizer in fitted]
    fixed = [float((LogSqrt2(bits).fit(x)(x).double() - x).square().mean()) for bits in range(2, 9)]
    assert all(ours <= theirs * (1 + 1e-6) for ours, theirs in zip(errors, fixed, strict=True))
    assert all(more < 0.7 * fewer for fewer, more in pairwise(errors)), "no plateau"
    assert all(a.base > b.base for a, b in pairwise(fitted)), "a finer base for more bits"


def test_a_fitted_base_is_the_best_of_a_plain_loop() -> None:
    x = post_softmax(4, 30, 17)
    quantizer = LogSqrt2(3, base="fitted").fit(x)
    errors = {}
    for p in PERCENTILES:
        for base in BASES:
            scale = float(torch.quantile(x, p))
            simulated = torch.tensor([naive_value(v, scale, base, 3) for v in x.flatten().tolist()])
            errors[scale, base] = float((simulated.double() - x.flatten()).square().mean())
    scale, base = min(errors, key=errors.get)
    assert (float(quantizer.scale), quantizer.base) == (pytest.approx(scale, rel=1e-6), base)


# -- scale and base together ---------------------------------------------------------------------------
def error_of(x: Tensor, scale: float, base: float, bits: int) -> float:
    codes = (-(x.double() / scale).log2() / log2(base)).round().clamp(0, 2**bits)
    simulated = torch.where(codes == 2**bits, 0.0, scale * base**-codes)
    return float((simulated - x).square().mean())


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_a_joint_search_comes_as_near_as_a_grid_without_gaps(bits: int) -> None:
    x = post_softmax(4, 20, 17)
    joint = LogSqrt2(bits, "fitted", "joint").fit(x)
    grid = [
        error_of(x, float(x.max()) * 2 ** -(down / 16), 2.0 ** (37 / q), bits)
        for down in range(27)
        for q in range(37, 37 * 9, 4)
    ]
    found = error_of(x, float(joint.scale), joint.base, bits)
    assert found <= 1.02 * min(grid)
    assert found == pytest.approx(float((joint(x).double() - x).square().mean()), rel=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_one_after_the_other_finds_no_better_pair(seed: int) -> None:
    x = post_softmax(8, 40, 17, seed=seed)
    errors = {
        search: [
            float((quantizer(x).double() - x).square().mean())
            for quantizer in (LogSqrt2(bits, "fitted", search).fit(x) for bits in range(2, 9))
        ]
        for search in ("joint", "least_error")
    }
    assert all(ours <= 1.01 * other for ours, other in zip(*errors.values(), strict=True))
    assert sum(errors["joint"]) < sum(errors["least_error"])


def test_a_joint_base_is_a_root_that_hardware_has_a_table_for() -> None:
    base = LogSqrt2(4, "fitted", "joint").fit(post_softmax(3, 20, 17)).base
    assert 37 / log2(base) == pytest.approx(round(37 / log2(base)), abs=1e-6)


def test_a_base_that_is_given_stays_and_its_scale_is_searched_closer() -> None:
    x = post_softmax(3, 20, 17)
    plain, joint = (LogSqrt2(3, 2.0, search).fit(x) for search in ("least_error", "joint"))
    assert joint.base == 2.0
    assert error_of(x, float(joint.scale), 2.0, 3) <= error_of(x, float(plain.scale), 2.0, 3)
