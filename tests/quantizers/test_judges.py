"""Judges give the squared error of a layer's output, and searches find the candidate that makes it least."""

import pytest
import torch
from torch import Tensor

from vitq_core.quantizers import LogSqrt2, ShiftLog2, Uniform
from vitq_core.quantizers.judges import Correlated, Multiplied, Weighted
from vitq_core.quantizers.kernels import logarithmic
from vitq_core.quantizers.log_sqrt2 import BASES
from vitq_core.quantizers.statistics import PERCENTILES


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def spread(rows: int, channels: int, seed: int = 0) -> Tensor:
    """Inputs [rows, channels] that go together, with one loud channel."""
    mixed = noise(rows, channels, seed=seed) @ noise(channels, channels, seed=seed + 1)
    mixed[:, 2] *= 30.0
    return mixed


def weight_judges(inputs: Tensor, weight: Tensor) -> tuple[Correlated, Weighted]:
    return Correlated(weight, inputs), Weighted(weight, inputs.square().sum(0))


def test_the_error_of_a_weight_is_that_of_the_output() -> None:
    inputs, weight, off = spread(50, 6).double(), noise(4, 6).double(), 0.01 * noise(4, 6, seed=5).double()
    together, alone = weight_judges(inputs, weight)
    outputs = (inputs @ (weight + off).T - inputs @ weight.T).square().sum(0)
    torch.testing.assert_close(together.errors(off.clone()), outputs)
    by_hand = [sum(float((row[j] * inputs[:, j]).square().sum()) for j in range(6)) for row in off]
    torch.testing.assert_close(alone.errors(off.clone()), torch.tensor(by_hand).double())


@pytest.mark.parametrize("axis", [None, 1])
@pytest.mark.parametrize("of_left", [True, False])
def test_the_error_of_a_factor_is_that_of_the_product(axis: int | None, of_left: bool) -> None:
    left, right = noise(3, 2, 5, 4).double(), noise(3, 2, 4, 6, seed=1).double()
    counts = torch.rand(3, 2, 5, generator=torch.Generator().manual_seed(2)).double() + 1
    judge = Multiplied(left, right, counts, of_left, axis)
    factor = left if of_left else right
    off = 0.1 * noise(*factor.shape, seed=3).double()
    product = (left + off) @ right if of_left else left @ (right + off)
    errors = ((product - left @ right).square() * counts[..., None]).sum((0, 2, 3))
    groups = off.reshape(1, -1) if axis is None else off.movedim(axis, 0).reshape(2, -1)
    torch.testing.assert_close(judge.errors(groups.clone()), errors if axis else errors.sum()[None])
    shown = factor if axis is None else factor.movedim(axis, 0)
    assert torch.equal(judge.sample.flatten(), shown.flatten())


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("seed", range(3))
def test_a_weight_gets_the_range_that_serves_the_output(bits: int, seed: int) -> None:
    """Against every factor and percentile tried in turn; the search looks at every fourth factor first."""
    inputs, weight = spread(200, 12, seed=seed), noise(5, 12, seed=seed + 7) ** 3
    fitted = Uniform(bits, 0, "least_error").fit(weight, weight_judges(inputs, weight)[0])
    found = (inputs @ (fitted(weight) - weight).T).square().sum(0)
    for row, error in zip(weight, found, strict=True):
        tried = []
        ends = [(0.96**power * row.min(), 0.96**power * row.max()) for power in range(40)]
        ends += [(row.quantile(1 - p), row.quantile(p)) for p in PERCENTILES]
        for low, high in ends:
            scale = (high - low) / (2**bits - 1)
            zero = (-low / scale).round()
            shown = scale * ((row / scale).round().clamp(-zero, 2**bits - 1 - zero))
            tried.append(float((inputs @ (shown - row)).square().sum()))
        assert min(tried) * 0.999 <= error <= tried[0] * 1.001
        assert error <= sorted(tried)[8] * 1.001


def test_a_large_weight_that_a_loud_channel_meets_is_not_cut_off() -> None:
    weight = noise(1, 4000)
    weight[0, 7] = 9.0
    own = Uniform(4, 0, "least_error").fit(weight)
    assert own(weight)[0, 7] < 7.0, "its own error is less where it is cut"
    loud = torch.ones(4000)
    loud[7] = 1e6
    judged = Uniform(4, 0, "least_error").fit(weight, Weighted(weight, loud))
    assert judged(weight)[0, 7] > 8.5


@pytest.mark.parametrize("bits", [3, 4, 8])
def test_tails_are_cut_off_where_the_judge_says_so(bits: int) -> None:
    """Per channel the extremes or a percentile; a channel whose rare token counts for much keeps it."""
    x = noise(5000, 4)
    x[0] = 20.0
    weights = torch.ones(4, 5000)
    weights[2, 0] = 1e6
    fitted = Uniform(bits, -1, "tails").fit(x, Weighted(x.T.contiguous(), weights))
    off = ((fitted(x) - x).T.square() * weights).sum(1)
    candidates = [Uniform(bits, -1, "minmax").fit(x)]
    for p in PERCENTILES:
        candidates.append(Uniform(bits, -1))
        low, high = (torch.quantile(x, q, dim=0, keepdim=True) for q in (1 - p, p))
        scale = (high - low) / (2**bits - 1)
        candidates[-1].set_parameters(scale, (-low / scale).round())
    tried = torch.stack([((c(x) - x).T.square() * weights).sum(1) for c in candidates])
    torch.testing.assert_close(off, tried.amin(0), rtol=1e-3, atol=0.0)
    assert fitted(x)[0, 2] > 18.0
    if bits < 8:
        assert fitted(x)[0, 1] < 10.0


def test_a_quantizer_with_another_range_passes_the_judge_over() -> None:
    weight = noise(3, 40)
    for range_ in ("minmax", "percentile"):
        judged = Uniform(3, 0, range_).fit(weight, Weighted(weight, noise(40).square()))
        assert torch.equal(judged.scale, Uniform(3, 0, range_).fit(weight).scale)


@pytest.mark.parametrize("bits", [3, 4, 8])
@pytest.mark.parametrize("kind", [LogSqrt2, ShiftLog2])
def test_a_logarithm_gets_the_scale_and_base_that_serve_the_output(kind: type, bits: int) -> None:
    """Against all scales with all bases: at most two of the bases beside the best are passed over."""
    maps, values = (3 * noise(40, 30)).softmax(-1), noise(30, 8, seed=1)
    judge = Multiplied(maps, values, torch.ones(40), of_left=True)
    fitted = kind(bits, base="fitted", range="least_error").fit(maps, judge)
    error = float(((fitted(maps) - maps) @ values).square().sum())
    tried = []
    for base in BASES:
        for power in range(logarithmic.SHRINKS):
            other = kind(bits, base=base).fit(maps)
            span = maps.max() if kind is LogSqrt2 else maps.max() - other.offset
            other.scale = span * logarithmic.SHRINK**power
            tried.append(float(((other(maps) - maps) @ values).square().sum()))
    assert min(tried) * 0.999 <= error <= sorted(tried)[len(tried) // 10]


def test_thinned_it_says_about_the_same() -> None:
    weight, weights = noise(4, 5000), noise(5000, seed=1).square()
    whole = Weighted(weight, weights)
    few = whole.thinned(8000)
    assert few.sample.numel() <= 8000
    share = few.sample.shape[1] / 5000
    whole_errors, few_errors = (j.errors(0.1 * j.sample) for j in (whole, few))
    torch.testing.assert_close(few_errors / share, whole_errors, rtol=0.2, atol=0.0)


def test_an_unknown_range_of_a_logarithm_is_refused() -> None:
    with pytest.raises(
        ValueError, match="range must be one of percentile, least_error, joint, unit, got 'mse'"
    ):
        LogSqrt2(4, range="mse")
