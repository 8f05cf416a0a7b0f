"""A quantizer's grid is the quantizer where a runtime can say so, elsewhere the nearest that it can."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import vitq_core as vq
from vitq_core.exporters.grids import Grid, axis_of, changes, grid_of
from vitq_core.quantizers import QUANTIZERS

BITS = st.integers(2, 8)


def fitted(bits: int, scale: float, zero_point: float):
    quantizer = QUANTIZERS["uniform"](bits)
    quantizer.set_parameters(torch.tensor(scale), torch.tensor(zero_point))
    return quantizer


@given(BITS, st.floats(1e-3, 1e3), st.data())
def test_a_zero_point_that_is_a_code_is_kept_bit_for_bit(bits: int, scale: float, data) -> None:
    zero_point = data.draw(st.integers(0, 2**bits - 1))
    quantizer = fitted(bits, scale, float(zero_point))
    grid = grid_of(quantizer)
    assert (grid.widened, grid.rounded) == (False, False)
    x = torch.linspace(-2, 2, 101) * scale * 2**bits
    codes = grid.codes(x)
    assert codes.min() >= 0 and codes.max() <= 2**bits - 1
    assert torch.equal((codes - grid.zero_point) * grid.scale, quantizer.simulate(x))


@given(BITS, st.floats(1e-3, 1e3), st.data())
def test_one_between_two_codes_is_rounded(bits: int, scale: float, data) -> None:
    zero_point = data.draw(st.floats(0, 2**bits - 1).filter(lambda z: 0.01 < z % 1 < 0.99 and z % 1 != 0.5))
    quantizer, x = fitted(bits, scale, zero_point), torch.linspace(-2, 2, 101) * scale * 2**bits
    grid = grid_of(quantizer)
    assert grid.rounded and not grid.widened and grid.scale == quantizer.scale
    error = ((grid.codes(x) - grid.zero_point) * grid.scale - quantizer.simulate(x)).abs().max()
    assert error <= 0.5001 * scale, "the ends of the range move by half a step at most"


@given(BITS, st.floats(1e-2, 1e2), st.booleans(), st.data())
def test_a_range_without_zero_is_widened_to_hold_it(bits: int, scale: float, below: bool, data) -> None:
    distance = data.draw(st.integers(1, 2**bits))
    quantizer = fitted(bits, scale, float(2**bits - 1 + distance if below else -distance))
    grid = grid_of(quantizer)
    low, high = (limit * scale for limit in quantizer.limits())
    found = [(code - grid.zero_point) * grid.scale for code in (0, 2**bits - 1)]
    assert grid.widened and 0 <= grid.zero_point <= 2**bits - 1
    assert float(found[0]) == pytest.approx(min(float(low), 0), abs=float(grid.scale) * 0.51)
    assert float(found[1]) == pytest.approx(max(float(high), 0), abs=float(grid.scale) * 0.51)


def test_changes_are_counted() -> None:
    one, zero = torch.tensor(1.0), torch.tensor(0.0)
    grids = [Grid(one, zero, 8), *[Grid(one, zero, 8, widened=True)] * 2, Grid(one, zero, 8, rounded=True)]
    assert changes(grids) == [
        "2 ranges that left out 0 had to be widened to hold it.",
        "1 zero point between two codes had to be rounded to one.",
    ]
    assert changes(grids[:1]) == []


def test_the_axis_along_which_scales_differ() -> None:
    assert axis_of(torch.ones(()), 3) is None and axis_of(torch.ones(1, 1), 3) is None
    assert axis_of(torch.ones(1, 4, 1, 1), 4) == 1 and axis_of(torch.ones(8), 3) == 2
    with pytest.raises(vq.VitqError, match="differ along 2 axes"):
        axis_of(torch.ones(1, 4, 8), 3)
