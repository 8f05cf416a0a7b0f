"""Bimodal keys are those that the authors' code finds, and folding them changes no answer."""

import numpy as np
import pytest
import torch
from segment_anything.modeling.transformer import Attention

from vitq_core.graph.sam import bimodal
from vitq_core.graph.sam.bimodal import absorb, piles, signs

from ...sam import golden

CASES = ("bimodal", "bimodal_uneven", "close_peaks", "tail", "trimodal", "unimodal")


@pytest.fixture(scope="module")
def stored() -> dict[str, np.ndarray]:
    return golden("sam_quant")


@pytest.mark.parametrize("case", CASES)
def test_piles_are_those_of_the_golden_numbers(stored, case: str) -> None:
    keys = torch.from_numpy(stored[f"big.{case}.k0"])
    found = piles(keys[0])
    assert np.allclose(found.density, stored[f"big.{case}.density"], rtol=1e-4)
    assert list(found.peaks) == stored[f"big.{case}.peaks"].tolist()
    assert found.bimodal == stored[f"big.{case}.is_bimodal"]
    if found.bimodal:  # elsewhere nothing is folded
        assert np.array_equal(signs(keys).numpy(), stored[f"big.{case}.sign"])


@pytest.mark.parametrize("case", CASES)
def test_values_in_bins_have_the_same_piles(stored, monkeypatch, case: str) -> None:
    keys = torch.from_numpy(stored[f"big.{case}.k0"])[0]
    exact = piles(keys)
    monkeypatch.setattr(bimodal, "EXACT", 1)
    binned = piles(keys)
    assert np.abs(binned.density - exact.density).max() < 2e-3 * exact.density.max()
    assert binned.bimodal == exact.bimodal
    assert np.abs(np.subtract(binned.peaks, exact.peaks)).max(initial=0) <= 1


def test_a_million_keys_take_no_million_sums() -> None:
    generator = torch.Generator().manual_seed(0)
    side = torch.randint(2, (1, 256), generator=generator) * 8.0 - 4.0
    found = piles(side + torch.randn(4096, 256, generator=generator))
    assert found.bimodal


def test_keys_that_are_all_the_same_have_no_piles() -> None:
    for keys in (torch.full((5, 4), 0.3), torch.zeros(1, 1)):
        assert not piles(keys).bimodal and not piles(keys, "robust").bimodal


def test_one_outlier_hides_no_pile_from_the_robust_range() -> None:
    generator = torch.Generator().manual_seed(0)
    side = torch.randint(2, (1, 64), generator=generator) * 8.0 - 4.0
    keys = side + torch.randn(1024, 64, generator=generator)
    keys[0, 0] = 400.0
    assert [piles(keys, name).bimodal for name in ("paper", "robust")] == [False, True]
    with pytest.raises(ValueError, match="peaks must be one of robust, paper, got 'narrow'"):
        piles(keys, "narrow")


def test_a_channel_whose_mean_is_zero_is_not_erased() -> None:
    keys = torch.tensor([[[1.0, -2.0, 0.5], [-1.0, -1.0, 0.5]]])
    assert signs(keys).tolist() == [1.0, -1.0, 1.0]


def test_absorbed_signs_are_those_of_the_golden_numbers(stored) -> None:
    attention = Attention(32, 4, downsample_rate=2)
    weights = {k.removeprefix("absorb.w."): v for k, v in stored.items() if k.startswith("absorb.w.")}
    attention.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    q, k, v, sign = (torch.from_numpy(stored[f"absorb.{name}"]) for name in ("q", "k", "v", "sign"))
    with torch.no_grad():
        before, keys = attention(q, k, v), attention.k_proj(k)
        absorb(attention.q_proj, attention.k_proj, sign)
        assert torch.equal(attention(q, k, v), before)
        assert torch.equal(attention.k_proj(k), keys * sign)
        assert np.allclose(attention.k_proj(k).numpy(), stored["absorb.keys_after"], atol=1e-5)
        assert np.allclose(before.numpy(), stored["absorb.out_after"], atol=1e-5)
