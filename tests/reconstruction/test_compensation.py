"""Least squares and rounding with compensation, beside twins that say the formulas slowly."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vitq_core.quantizers import Uniform
from vitq_core.reconstruction.compensation import (
    DAMPING,
    RIDGES,
    Grid,
    Moments,
    compensated,
    regressed,
    rounded,
)


def drawn(seed: int, rows: int = 200, inputs: int = 12, outputs: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs that go together, outputs that nearly follow from them, and the weight they follow by."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(inputs, inputs, generator=generator)
    x = torch.randn(rows, inputs, generator=generator) @ mixing + 0.5
    weight = torch.randn(outputs, inputs, generator=generator)
    return x, x @ weight.T + 0.1 * torch.randn(rows, outputs, generator=generator) + 1.0, weight


def moments_of(x: Tensor, t: Tensor, counts: Tensor | None = None) -> Moments:
    moments = Moments()
    counts = torch.ones(len(x)) if counts is None else counts
    for part in zip(x.split(70), t.split(70), counts.split(70), strict=True):
        moments.add(*part)
    return moments


def test_a_row_that_counts_twice_is_a_row_given_twice() -> None:
    x, t, _ = drawn(0)
    counts = torch.ones(200)
    counts[::3] = 2
    twice = moments_of(torch.cat((x, x[::3])), torch.cat((t, t[::3])))
    for found, expected in zip(moments_of(x, t, counts).products(True), twice.products(True), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-2)


def test_moments_are_centred_where_there_is_a_bias() -> None:
    x, t, weight = drawn(1)
    gram, cross = moments_of(x, t).products(centred=True)
    x0, t0 = ((v - v.mean(0)).double() for v in (x, t))
    torch.testing.assert_close(gram, x0.T @ x0, rtol=1e-4, atol=1e-2)
    torch.testing.assert_close(cross, t0.T @ x0, rtol=1e-4, atol=1e-2)
    torch.testing.assert_close(
        moments_of(x, t).bias(weight), (t - x @ weight.T).mean(0), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("ridge", RIDGES)
def test_regression_is_least_squares_on_rows_that_hold_the_weight(ridge: float) -> None:
    """The ridge as rows of its own: √λ · identity, which should give what the given weight gives."""
    x, t, weight = drawn(2)
    given_weight = weight + 0.3
    gram, cross = moments_of(x, t).products(centred=False)
    hold = (ridge * gram.diagonal().mean()).sqrt() * torch.eye(12, dtype=torch.double)
    rows, wanted = torch.cat((x.double(), hold)), torch.cat((t.double(), hold @ given_weight.double().T))
    expected = torch.linalg.lstsq(rows, wanted).solution.T.float()
    torch.testing.assert_close(regressed(given_weight, gram, cross, ridge), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("with_bias", [True, False])
def test_the_error_is_that_of_the_outputs(with_bias: bool) -> None:
    """Up to a constant: so the difference between two weights."""
    x, t, weight = drawn(5)
    moments, biases = moments_of(x, t), (torch.ones(5), torch.full((5,), -0.3)) if with_bias else (None, None)
    error = moments.error_beside(weight)
    found = [error(w, b) for w, b in zip((weight, 0.9 * weight), biases, strict=True)]
    naive = [
        float((t - x @ w.T - (0 if b is None else b)).double().square().sum())
        for w, b in zip((weight, 0.9 * weight), biases, strict=True)
    ]
    assert found[1] - found[0] == pytest.approx(naive[1] - naive[0], rel=1e-3)


def output_error(x: Tensor, t: Tensor, weight: Tensor, bias: Tensor) -> float:
    return float((t - x @ weight.T - bias).square().sum())


@pytest.mark.parametrize("rows", [8, 40, 400])
def test_held_rows_choose_the_ridge_or_to_leave_the_weight_alone(rows: int) -> None:
    """Few rows with noise are learned by heart: what is chosen is what serves other rows best."""
    chosen = set()
    for seed in range(6):
        x, t, weight = drawn(seed, rows=rows + 200, inputs=30)
        t = t + 3 * torch.randn(t.shape, generator=torch.Generator().manual_seed(seed))
        (steps, _), bias = grid(weight, 3), torch.ones(5)
        known, held = moments_of(x[:rows], t[:rows]), moments_of(x[rows:], t[rows:])
        found = compensated(weight, bias, steps, known, held)

        def held_error(weight: Tensor, bias: Tensor, x: Tensor = x, t: Tensor = t) -> float:
            return output_error(x[rows:], t[rows:], weight, bias)

        gram, cross = known.products(True)
        wanted = {ridge: regressed(weight, gram, cross, ridge) for ridge in RIDGES}
        best = min(RIDGES, key=lambda ridge: held_error(wanted[ridge], known.bias(wanted[ridge])))
        hard = rounded(wanted[best], gram, steps)
        if held_error(hard, known.bias(hard)) >= held_error(steps.round(weight), bias):
            chosen.add(None)
            assert found is None
            continue
        chosen.add(best)
        gram, cross = (known + held).products(True)
        expected = rounded(regressed(weight, gram, cross, best), gram, steps)
        torch.testing.assert_close(found.hard, expected)
        torch.testing.assert_close(found.bias, (known + held).bias(expected))
    assert (None in chosen) == (rows == 8)
    assert (chosen == {RIDGES[-1]}) == (rows == 40)  # many rows are held less; few can only be left alone


def test_without_rows_to_judge_the_weight_hardly_moves() -> None:
    x, t, weight = drawn(6)
    steps, _ = grid(weight, 8)
    found = compensated(weight, None, steps, moments_of(x, t), Moments())
    assert found.bias is None
    torch.testing.assert_close(found.hard, weight, rtol=0, atol=float(steps.scale.max()) * 4)


def grid(weight: Tensor, bits: int) -> tuple[Grid, Uniform]:
    quantizer = Uniform(bits, axis=0, range="minmax").fit(weight)
    return Grid.of(quantizer), quantizer


def naive_rounded(weight: Tensor, gram: Tensor, steps: Grid) -> Tensor:
    """Optimal brain quantization with the inverse computed anew for the columns that are left."""
    order = gram.diagonal().argsort(descending=True).tolist()
    damped = gram + DAMPING * gram.diagonal().mean() * torch.eye(len(gram)).double()
    left, done = weight.double().clone(), torch.zeros_like(weight).double()
    while order:
        column, rest = order[0], order
        inverse = torch.linalg.inv(damped[rest][:, rest])
        done[:, column] = steps.round(left[:, column : column + 1].float())[:, 0].double()
        error = (left[:, column] - done[:, column]) / inverse[0, 0]
        left[:, rest] -= error[:, None] * inverse[0]
        order = order[1:]
    return done.float()


@given(st.integers(0, 10_000), st.sampled_from([2, 3, 4, 8]))
def test_rounding_is_that_of_the_slow_twin(seed: int, bits: int) -> None:
    x, _, weight = drawn(seed, inputs=9)
    gram = (x.T @ x).double()
    steps, _ = grid(weight, bits)
    found, expected = rounded(weight, gram, steps), naive_rounded(weight, gram, steps)
    parted = (found - expected).abs() > steps.scale / 2  # a tie may fall either way, and moves what follows
    assert parted.float().mean() <= 0.2
    torch.testing.assert_close(found[~parted.any(1)], expected[~parted.any(1)])


def test_more_columns_than_are_taken_together() -> None:
    x, _, weight = drawn(3, rows=400, inputs=150)
    gram, (steps, _) = (x.T @ x).double(), grid(weight, 3)
    found, nearest = rounded(weight, gram, steps), steps.round(weight)
    error, before = (float(((x @ (w - weight).T) ** 2).sum()) for w in (found, nearest))
    assert error < 0.5 * before
    torch.testing.assert_close(found, steps.round(found))
    torch.testing.assert_close(
        found, naive_rounded(weight, gram, steps), rtol=0, atol=float(steps.scale.max()) * 2
    )


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_learning_goes_on_from_a_weight_that_is_rounded_to_the_codes(bits: int) -> None:
    _, _, weight = drawn(4)
    steps, quantizer = grid(weight, bits)
    hard = steps.round(weight + steps.scale)  # other codes than the nearest
    beside = steps.beside(hard, weight)
    torch.testing.assert_close(quantizer(beside), hard)
    assert ((beside - weight).abs() <= (hard - weight).abs()).all()
    assert not torch.equal(beside, hard)
    pushed = beside + 0.3 * steps.scale * torch.randn_like(beside).sign()
    torch.testing.assert_close(quantizer(pushed), hard)  # codes chosen together are not lost at once
