"""Per-patch outlier-aware: the formula against plain loops, thresholds by ratio, what outliers cost."""

from math import ceil, log2

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vitq_core.quantizers import PerPatchOutlier, Uniform


def post_layernorm(*shape: int, seed: int = 0) -> Tensor:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    x[..., 1] *= 6.0
    return x * torch.linspace(0.5, 2.0, shape[1]).reshape(-1, *[1] * (len(shape) - 2))


@pytest.mark.parametrize("shape", [(6, 5, 16), (4, 3, 2, 16), (30, 16)])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_formula_is_a_loop_over_positions(shape: tuple[int, ...], bits: int) -> None:
    """Swin's (h, w) are positions too; without positions there is one scale."""
    x = post_layernorm(*shape)
    quantizer = PerPatchOutlier(bits, alpha=3.0).fit(x)
    y = quantizer(x)
    assert quantizer.scale.numel() == torch.Size(shape[1:-1]).numel()
    flat, simulated = (t.reshape(shape[0], -1, shape[-1]) for t in (x, y))
    for position in range(flat.shape[1]):
        values = flat[:, position]
        kept = values.abs() > 3.0
        rest = Uniform(bits).fit(torch.where(kept, 0.0, values))  # shared over the batch and all channels
        assert torch.equal(simulated[:, position], torch.where(kept, values, rest(values)))


def test_outliers_do_not_widen_the_scale() -> None:
    x = post_layernorm(6, 5, 16)
    with_huge = x.clone()
    with_huge[0, 0, 1] = 1e6
    with_huge[1, 2, 1] = -1e6
    quantizer = PerPatchOutlier(4).fit(with_huge)
    assert quantizer(with_huge)[0, 0, 1] == 1e6
    assert quantizer.scale.max() <= 10.0 / 15 + 1e-6


def test_what_was_not_seen_in_calibration_is_kept_too() -> None:
    x = post_layernorm(6, 5, 16)
    quantizer = PerPatchOutlier(4, alpha=3.0).fit(x)
    x[2, 3, 4], x[2, 3, 5], x[2, 3, 6] = torch.inf, -torch.inf, 1e30
    assert torch.equal(quantizer(x)[2, 3, 4:7], x[2, 3, 4:7])
    assert quantizer(x).isnan().sum() == 0
    with torch.no_grad():
        assert torch.equal(quantizer(x.clone(), overwrite=True), quantizer(x))


@settings(max_examples=40)
@given(ratio=st.floats(0.0005, 0.49), seed=st.integers(0, 99), channels=st.integers(2, 40))
def test_a_ratio_becomes_the_threshold_that_keeps_it(ratio: float, seed: int, channels: int) -> None:
    x = post_layernorm(6, 7, channels, seed=seed)
    quantizer = PerPatchOutlier(4, alpha_ratio=ratio).fit(x)
    expected = ceil(ratio * x.numel())
    kept = x.abs() > quantizer.alpha
    assert kept.sum() == expected
    assert quantizer.outlier_ratio == expected / x.numel()
    assert torch.equal(quantizer(x)[kept], x[kept])
    assert quantizer.alpha == x.abs().flatten().sort().values[-expected - 1]


def test_kept_share_is_counted_over_all_batches() -> None:
    x = post_layernorm(8, 5, 16)
    quantizer = PerPatchOutlier(4, alpha=3.0)
    for batch in x.split(3):
        quantizer.observe(batch, len(batch) / len(x))
    quantizer.finish()
    kept = int((x.abs() > 3.0).sum())
    assert 0 < kept == quantizer.kept
    assert quantizer.outlier_ratio == pytest.approx(kept / x.numel())
    assert quantizer.effective_bits == pytest.approx(4 + kept / x.numel() * (16 + ceil(log2(16))))


def test_without_outliers_the_bits_are_the_bits() -> None:
    quantizer = PerPatchOutlier(4, alpha=1e6).fit(post_layernorm(4, 5, 16))
    assert quantizer.outlier_ratio == 0.0
    assert quantizer.effective_bits == 4.0


@pytest.mark.parametrize("index_bits, channels", [(1, 1), (1, 2), (2, 3), (4, 16), (5, 17)])
def test_an_outlier_costs_a_half_float_and_its_index(index_bits: int, channels: int) -> None:
    quantizer = PerPatchOutlier(4, alpha=0.5).fit(torch.full((2, 3, channels), 1.0))  # all are outliers
    assert quantizer.effective_bits == 4 + 16 + index_bits


def test_codes_of_kept_values_are_their_bits() -> None:
    x = post_layernorm(6, 5, 16)
    quantizer = PerPatchOutlier(4, alpha=3.0).fit(x)
    codes, kept = quantizer.encode(x), x.abs() > 3.0
    assert torch.equal(codes[kept].view(torch.float32), x[kept])
    assert not ((codes[kept] >= 0) & (codes[kept] < 2**4)).any()
    assert ((codes[~kept] >= 0) & (codes[~kept] < 2**4)).all()


def test_the_threshold_itself_is_not_an_outlier() -> None:
    quantizer = PerPatchOutlier(2, alpha=2.0).fit(torch.linspace(-2.0, 2.0, 48).reshape(2, 3, 8))
    x = torch.tensor([2.0, 2.0001, -2.0, -2.0001]).expand(1, 3, 4)
    assert (quantizer.encode(x).abs() > 2**2).tolist() == [[[False, True, False, True]] * 3]


def test_pictures_of_another_size_are_refused_with_the_reason() -> None:
    quantizer = PerPatchOutlier(4).fit(post_layernorm(4, 5, 16))
    for use in (quantizer, quantizer.encode):
        with pytest.raises(ValueError, match=r"calibrated for \(5,\) patch positions, got \(7,\)"):
            use(post_layernorm(4, 7, 16))
