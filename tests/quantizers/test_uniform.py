"""Uniform affine: the formula and the percentile search against plain loops; fractional zero points."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.pairs import all_pairs
from vitq_core.quantizers import Uniform
from vitq_core.quantizers.statistics import PERCENTILES
from vitq_core.recipes.recipe import MAX_BITS, MIN_BITS


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def naive_value(x: float, scale: float, zero_point: float, bits: int) -> float:
    """``s (clamp(⌊x/s⌉ + z, 0, 2^b − 1) − z)``; Python rounds half to even, as torch does."""
    code = min(max(round(x / scale) + zero_point, 0), 2**bits - 1)
    return scale * (code - zero_point)


def near_tie(x: float, scale: float) -> bool:
    """Where float32 and float64 may round differently."""
    return abs(x / scale % 1.0 - 0.5) < 1e-4


def naive_simulation(x: Tensor, quantizer: Uniform) -> Tensor:
    """``x`` elementwise in Python floats; NaN near a tie."""
    scale, zero_point = (p.expand_as(x).double() for p in (quantizer.scale, quantizer.zero_point))
    values = [
        float("nan") if near_tie(v, s) else naive_value(v, s, z, quantizer.bits)
        for v, s, z in zip(*(t.double().flatten().tolist() for t in (x, scale, zero_point)), strict=True)
    ]
    return torch.tensor(values, dtype=torch.float64).reshape(x.shape)


def assert_simulates(quantizer: Uniform, x: Tensor) -> None:
    expected = naive_simulation(x, quantizer)
    sure = ~expected.isnan()
    assert sure.float().mean() > 0.98
    torch.testing.assert_close(quantizer(x)[sure].double(), expected[sure], atol=1e-6, rtol=1e-5)


def naive_search(values: Tensor, bits: int) -> tuple[float, float, float]:
    """(scale, zero point, mean squared error) of the best of the three percentiles for one group."""
    best = None
    for p in PERCENTILES:
        hi, lo = torch.quantile(values, p).double(), torch.quantile(values, 1 - p).double()
        scale = float(hi - lo) / (2**bits - 1)
        zero_point = round(-float(lo) / scale)
        codes = ((values.double() / scale).round() + zero_point).clamp(0, 2**bits - 1)
        error = float((scale * (codes - zero_point) - values).square().mean())
        if best is None or error < best[2]:
            best = scale, zero_point, error
    return best


@pytest.mark.parametrize(
    ("axis", "range_", "bits"), all_pairs([None, -1, 0], ["percentile", "minmax"], [2, 4, 8])
)
def test_formula(axis: int | None, range_: str, bits: int) -> None:
    x = noise(6, 5, 8) + torch.linspace(-3, 3, 8)
    assert_simulates(Uniform(bits, axis, range_).fit(x), 2 * x)


@pytest.mark.parametrize(("axis", "bits", "seed"), all_pairs([None, -1, 0], [3, 4, 8], range(3)))
def test_search_is_a_loop_over_groups_and_percentiles(axis: int | None, bits: int, seed: int) -> None:
    x = noise(5, 700, 4, seed=seed) * torch.tensor([0.1, 1.0, 3.0, 40.0]) + 1.0
    x[:, ::600] *= 6.0  # outliers, so that the percentiles differ and the bits decide
    quantizer = Uniform(bits, axis).fit(x)
    groups = x.reshape(1, -1) if axis is None else x.movedim(axis, 0).flatten(1)
    assert quantizer.scale.numel() == len(groups)
    found = zip(quantizer.scale.flatten().tolist(), quantizer.zero_point.flatten().tolist(), strict=True)
    for values, (scale, zero_point) in zip(groups, found, strict=True):
        expected = naive_search(values, bits)
        assert scale == pytest.approx(expected[0], rel=1e-5)
        assert zero_point == pytest.approx(expected[1], abs=1 if near_tie(zero_point + 0.5, 1.0) else 0)


def test_the_bits_decide_how_much_is_cut_off() -> None:
    x = noise(100_000)
    x[:20] *= 12.0
    assert 15 * Uniform(4).fit(x).scale < 255 * Uniform(8).fit(x).scale


@settings(max_examples=60)
@given(
    values=st.lists(st.floats(-(2.0**60), 2.0**60, width=32), min_size=2, max_size=30),
    bits=st.integers(MIN_BITS, MAX_BITS),
)
def test_minmax_is_off_by_half_a_step_at_most(values: list[float], bits: int) -> None:
    x = torch.tensor(values)
    quantizer = Uniform(bits, range="minmax").fit(x)
    y = quantizer(x)
    span = float(x.double().max() - x.double().min())
    step = span / (2**bits - 1)
    slack = 1e-6 * float(x.abs().max())
    # rounding the zero point may push one end out by another half step
    assert float((y.double() - x.double()).abs().max()) <= step + slack
    assert torch.equal(quantizer.decode(quantizer.encode(x)), y)


def test_the_ends_of_a_minmax_range_and_zero_are_levels() -> None:
    quantizer = Uniform(4, range="minmax").fit(torch.linspace(-5.0, 10.0, 100))
    ends = torch.tensor([-5.0, 0.0, 10.0])
    assert torch.equal(quantizer(ends), ends)
    assert torch.equal(quantizer.levels(), torch.arange(-5.0, 11.0))


@pytest.mark.parametrize(("axis", "bits", "seed"), all_pairs([None, 0, -1], [2, 3, 4, 8], range(3)))
def test_the_range_of_least_error_is_never_worse_than_the_extremes(axis: int | None, bits: int, seed: int):
    x = noise(12, 300, 4, seed=seed) * torch.tensor([0.1, 1.0, 3.0, 40.0]) + 1.0
    x[:, ::100] *= 4.0
    axes = tuple(range(3)) if axis is None else tuple(a for a in range(3) if a != axis % 3)

    def errors(range_: str) -> Tensor:
        return (Uniform(bits, axis, range_).fit(x)(x).double() - x).square().mean(axes)

    least, extremes = errors("least_error"), errors("minmax")
    assert (least <= extremes * (1 + 1e-6)).all()
    if bits <= 4:
        assert (least < 0.95 * extremes).any(), "at few bits it pays to cut off"


def test_the_range_of_least_error_is_the_best_of_a_plain_loop() -> None:
    x = noise(3, 400) ** 3
    quantizer, factors = Uniform(3, 0, "least_error").fit(x), [0.96**k for k in range(40)]
    for row, scale in zip(x, quantizer.scale[:, 0].tolist(), strict=True):
        errors = {}
        for factor in factors:
            lo, hi = factor * float(row.min()), factor * float(row.max())
            step = (hi - lo) / 7
            simulated = torch.tensor([naive_value(v, step, round(-lo / step), 3) for v in row.tolist()])
            errors[step] = float((simulated.double() - row).square().sum())
        assert scale == pytest.approx(min(errors, key=errors.get), rel=1e-5)


def test_axes_counted_from_either_end_are_the_same() -> None:
    x = noise(4, 5, 6)
    assert torch.equal(Uniform(4, 2).fit(x)(x), Uniform(4, -1).fit(x)(x))


@pytest.mark.parametrize("zero_point", [7.0, 7.25, 7.5, 0.01])
def test_fractional_zero_points_cut_between_codes(zero_point: float) -> None:
    """RepQ-ViT's mean zero point: the published formula rounds x/s, adds z, clamps."""
    quantizer = Uniform(4)
    quantizer.set_parameters(torch.tensor(0.3), torch.tensor(zero_point))
    x = torch.linspace(-5, 5, 2001)
    assert_simulates(quantizer, x)
    codes = quantizer.encode(x)
    assert torch.equal(quantizer.decode(codes), quantizer(x))
    assert codes.min() == 0
    assert codes.max() == 2**4 - 1 + int(zero_point % 1 != 0)
    assert torch.equal(quantizer.levels(), quantizer(x).unique())
    assert (quantizer.affine() is None) == (zero_point % 1 != 0)


def test_one_fractional_zero_point_among_many_is_no_affine_map() -> None:
    quantizer = Uniform(4, axis=0).fit(noise(3, 50))
    scale, zero_point = quantizer.affine()
    assert scale.shape == zero_point.shape == (3, 1)
    zero_point[1] += 0.5
    assert quantizer.affine() is None


def test_bytes_by_hand() -> None:
    """A float and a byte a row; two bytes, or a float, where the zero point is not known yet."""
    quantizer = Uniform(4, axis=0).fit(noise(3, 50))
    assert (quantizer.stored_bytes(), quantizer.most_stored_bytes()) == (3 * 5, 3 * 6)
    assert quantizer.most_stored_bytes(rescaled=True) == 3 * 8
    quantizer.zero_point[1] += 0.5  # one fraction makes them all floats
    assert quantizer.stored_bytes() == 3 * 8


def test_unknown_range_is_refused() -> None:
    known = "percentile, minmax, least_error, tails, mean, power, mean_power, signed, ema, "
    known += "running_percentile, last_batch"
    with pytest.raises(ValueError, match=f"range must be one of {known}, got 'mse'"):
        Uniform(4, range="mse")
