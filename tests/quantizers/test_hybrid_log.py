"""AHCPTQ's formulas, written out naively; large values are not all one, as the published code makes them."""

from __future__ import annotations

import pytest
import torch

from vitq_core.quantizers import HybridLog, Uniform


def naive(quantizer: HybridLog, value: float) -> float:
    """Of one value, in Python's numbers."""
    low, scale, step = (float(getattr(quantizer, name)) for name in ("minimum", "scale", "step"))
    above = max(value - low, 0.0)
    if above <= scale:
        candidates = [scale * 2.0**-k for k in range(quantizer.powers)]
        lowest = candidates[-1] / 2**0.5
        nearest = min(
            candidates, key=lambda c: abs(torch.tensor(c).log2() - torch.tensor(above + 1e-30).log2())
        )
        return low + (nearest if above >= lowest * (1 - 1e-6) else 0.0)
    number = round((above - scale) / step)
    return low + scale + min(max(number, 0), 2**quantizer.bits - 1 - quantizer.powers) * step


@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8])
def test_values_are_those_of_the_formula(bits: int) -> None:
    x = torch.nn.functional.gelu(3 * torch.randn(400, generator=torch.Generator().manual_seed(bits)))
    quantizer = HybridLog(bits).fit(x)
    assert torch.allclose(quantizer(x), torch.tensor([naive(quantizer, float(v)) for v in x]), atol=1e-5)


def test_large_values_stay_apart() -> None:
    x = torch.cat((torch.rand(1000) * 0.3, torch.tensor([2.0, 3.0, 5.0])))
    found = HybridLog(4).fit(x)(x[-3:])
    assert len(found.unique()) == 3 and (found - x[-3:]).abs().max() < 0.5


def test_a_long_tail_loses_less_than_with_even_steps() -> None:
    x = torch.nn.functional.gelu(torch.randn(20_000, generator=torch.Generator().manual_seed(0)))
    x[::500] *= 10
    errors = [(q.fit(x)(x) - x).square().mean() for q in (HybridLog(4), Uniform(4, range="minmax"))]
    assert errors[0] < 0.9 * errors[1]
