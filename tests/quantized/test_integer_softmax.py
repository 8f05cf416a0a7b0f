"""The softmax of whole numbers: the authors' numbers, a naive twin, and where it would divide 0 by 0."""

import math

import pytest
import torch
from torch import Tensor

from vitq_core.quantized.integer_softmax import LARGEST_SCALE, integer_exponential, log_int_softmax

GOLDEN = "baseline_quantizers.npz"


@pytest.mark.parametrize("bits", [3, 4, 6, 8])
def test_published_values(bits: int, golden: dict[str, Tensor]) -> None:
    x, scale = golden["fq.log_int_softmax.input"], golden["fq.log_int_softmax.scale"]
    assert torch.equal(log_int_softmax(x, scale, bits), golden[f"fq.log_int_softmax.b{bits}"])


def test_published_exponentials(golden: dict[str, Tensor]) -> None:
    found = integer_exponential(golden["fq.log_int_softmax.input"], golden["fq.log_int_softmax.scale"])
    torch.testing.assert_close(found, golden["fq.int_exp"], rtol=1e-6, atol=0)
    torch.testing.assert_close(found.sum(-1, keepdim=True), golden["fq.int_exp_sum"], rtol=1e-6, atol=0)


def on_a_grid(scale: float, seed: int = 0) -> Tensor:
    return scale * torch.randint(-60, 60, (3, 2, 7, 9), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("scale", [0.01, 0.05, 0.1])
def test_it_is_the_softmax_to_the_nearest_power_of_two(scale: float) -> None:
    """Within half an octave, and a little for the polynomial."""
    x = on_a_grid(scale)
    found = log_int_softmax(x, torch.tensor(scale), 8)
    exact = x.double().softmax(-1)
    seen = exact > 2.0**-20
    assert ((found[seen].log2() - exact[seen].log2()).abs() < 0.75).all()
    assert torch.equal(found.log2(), found.log2().round())


def test_few_bits_cut_off_the_smallest() -> None:
    found = log_int_softmax(on_a_grid(0.4), torch.tensor(0.4), 3)
    assert (found == 0).any()
    assert found[found > 0].min() >= 2.0**-7


def test_steps_that_are_too_large_are_refused_and_those_below_are_not() -> None:
    assert pytest.approx(1.671, abs=1e-3) == LARGEST_SCALE
    fine = 0.999 * LARGEST_SCALE
    assert log_int_softmax(on_a_grid(fine), torch.tensor(fine), 4).isfinite().all()
    coarse = 1.01 * LARGEST_SCALE
    assert math.floor(1 / 0.35815147 / coarse**2) == 0  # which makes the largest exponential 0
    with pytest.raises(
        ValueError, match=r"lie in steps of 1\.69, .* steps of 1\.671 at most: give activations"
    ):
        log_int_softmax(on_a_grid(coarse), torch.tensor(coarse), 4)
