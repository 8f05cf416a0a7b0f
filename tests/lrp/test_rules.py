"""Every relevance rule against a naive twin: methods.md section 4 in plain loops, picture by picture."""

from collections.abc import Callable
from math import copysign

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy import ndarray
from torch import Tensor

from tests.pairs import all_pairs, in_turn
from vitq_core.lrp import rules

quick = settings(max_examples=20, derandomize=True)
seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 4)
GRID = (-2.0, -1.0, -0.5, 0.0, 0.0, 0.5, 1.0, 2.0)  # their sums are exact, so that some cancel to exactly 0


def draw(seed: int, *shapes: tuple[int, ...]) -> list[Tensor]:
    """Float64 tensors; those of an odd seed have zeros, and sums that are exactly 0."""
    random = np.random.default_rng(seed)
    pick = (lambda s: random.choice(GRID, s)) if seed % 2 else (lambda s: random.standard_normal(s))
    return [torch.from_numpy(np.asarray(pick(shape), dtype=np.float64)) for shape in shapes]


def handed_on(rule: Callable, operands: list[Tensor], relevance: Tensor) -> list[ndarray]:
    """What a rule makes of the ``relevance`` of its output."""
    operands = [operand.clone().requires_grad_() for operand in operands]
    found = torch.autograd.grad(rule(*operands), operands, relevance)
    return [part.numpy() for part in found]


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return rules.Linear.apply(x, weight, bias, None)


def matmul(a: Tensor, b: Tensor) -> Tensor:
    return rules.MatMul.apply(a, b, None)


def same(actual: ndarray | Tensor, expected: ndarray) -> None:
    actual = np.asarray(actual)
    assert actual.shape == expected.shape
    scale = max(np.abs(expected).max(initial=0.0), 1e-300)
    np.testing.assert_allclose(actual / scale, expected / scale, rtol=0, atol=1e-10)


def divide(a: float, b: float) -> float:
    return 0.0 if b == 0 else a / (b + copysign(1e-9, b))


def plus(x: float) -> float:
    return x if x > 0 else 0.0


def minus(x: float) -> float:
    return x if x < 0 else 0.0


def places(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    return list(np.ndindex(*shape))


def home(place: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Where the value at ``place`` of a broadcast tensor comes from."""
    tail = place[len(place) - len(shape) :]
    return tuple(0 if size == 1 else index for index, size in zip(tail, shape, strict=True))


# Division


SPECIAL = [0.0, -0.0, 1.0, -1.0, 1e-9, -1e-9, 5e-10, -5e-10, 1e-300, -1e-300, 3.0]


def test_division_is_safe() -> None:
    b = torch.tensor(SPECIAL, dtype=torch.float64)
    for a in (2.0, -2.0, 0.0):
        found = rules.safe_divide(torch.tensor(a, dtype=torch.float64), b)
        assert torch.isfinite(found).all()
        same(found, np.array([divide(a, v) for v in SPECIAL]))
    assert torch.equal(b, torch.tensor(SPECIAL, dtype=torch.float64)), "its operands stay"


def test_a_divisor_as_far_below_zero_as_the_safety_is_large() -> None:
    found = rules.safe_divide(torch.ones(1, dtype=torch.float64), torch.tensor([-1e-9], dtype=torch.float64))
    assert found.item() == pytest.approx(-5e8)


@quick
@given(seed=seeds, rows=sizes, columns=sizes)
def test_division_broadcasts(seed: int, rows: int, columns: int) -> None:
    a, b = draw(seed, (rows, columns), (rows, 1))
    expected = np.array([[divide(a[i, j], b[i, 0]) for j in range(columns)] for i in range(rows)], float)
    same(rules.safe_divide(a, b), expected)


# Linear


def naive_linear(x: ndarray, weight: ndarray, relevance: ndarray) -> ndarray:
    given = np.zeros_like(x)
    for at in places(x.shape[:-1]):
        for o, row in enumerate(weight):
            z = sum(plus(v) * plus(w) + minus(v) * minus(w) for v, w in zip(x[at], row, strict=True))
            share = divide(relevance[at][o], z)
            for i, (v, w) in enumerate(zip(x[at], row, strict=True)):
                given[at][i] += plus(v) * share * plus(w) + minus(v) * share * minus(w)
    return given


@quick
@given(seed=seeds, batch=sizes, tokens=sizes, inputs=sizes, outputs=sizes)
def test_linear(seed: int, batch: int, tokens: int, inputs: int, outputs: int) -> None:
    x, weight, bias, relevance = draw(
        seed, (batch, tokens, inputs), (outputs, inputs), (outputs,), (batch, tokens, outputs)
    )
    (found,) = handed_on(lambda x: linear(x, weight, bias), [x], relevance)
    same(found, naive_linear(x.numpy(), weight.numpy(), relevance.numpy()))


@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 1, 3), (2, 2, 2, 3)])
def test_linear_takes_inputs_of_any_rank(shape: tuple[int, ...]) -> None:
    x, weight, relevance = draw(6, shape, (4, 3), (*shape[:-1], 4))
    (found,) = handed_on(lambda x: linear(x, weight), [x], relevance)
    same(found, naive_linear(x.numpy(), weight.numpy(), relevance.numpy()))


def test_linear_ignores_opposite_signs_and_gives_nothing_where_nothing_agrees() -> None:
    x = torch.tensor([[1.0, -2.0, 0.0]], dtype=torch.float64)
    weight = torch.tensor([[3.0, -1.0, 5.0], [-1.0, 4.0, 7.0]], dtype=torch.float64)
    relevance = torch.tensor([[10.0, 10.0]], dtype=torch.float64)  # Z = [3 + 2, 0]
    (found,) = handed_on(lambda x: linear(x, weight), [x], relevance)
    np.testing.assert_allclose(found, [[6, 4, 0]], atol=1e-7)


@quick
@given(seed=seeds, batch=sizes, outputs=sizes)
def test_linear_keeps_the_sum_where_something_contributes(seed: int, batch: int, outputs: int) -> None:
    x, weight, bias, relevance = draw(seed - seed % 2, (batch, 6), (outputs, 6), (outputs,), (batch, outputs))
    weight[:, 0], x[:, 0] = 1.0, 1.0  # Z ≥ 1
    (found,) = handed_on(lambda x: linear(x, weight, bias), [x], relevance)
    np.testing.assert_allclose(found.sum(1), relevance.sum(1), rtol=1e-7, atol=1e-7)


def test_linear_of_a_known_output_is_the_same() -> None:
    x, weight, bias, relevance = draw(2, (2, 3, 5), (4, 5), (4,), (2, 3, 4))
    for b in (bias, None):
        y = torch.nn.functional.linear(x, weight, b)
        (found,) = handed_on(lambda x, b=b, y=y: rules.Linear.apply(x, weight, b, y), [x], relevance)
        same(found, naive_linear(x.numpy(), weight.numpy(), relevance.numpy()))


@pytest.mark.parametrize("size", [1.0, 30.0, 1e3])
def test_linear_ignores_a_large_bias_in_float32(size: float) -> None:
    x, weight, relevance = (t.float() for t in draw(2, (64, 16), (8, 16), (64, 8)))
    (found,) = handed_on(lambda x: linear(x, weight, torch.full((8,), size)), [x], relevance)
    expected = naive_linear(*(t.double().numpy() for t in (x, weight, relevance)))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


# Same-sign products out of one known product


def naive_same_sign(x: Tensor, weight: Tensor) -> ndarray:
    """[rows, outputs] in float64"""
    x, weight = x.double().numpy(), weight.double().numpy()
    return np.array(
        [
            [
                sum(plus(v) * plus(w) + minus(v) * minus(w) for v, w in zip(row, out, strict=True))
                for out in weight
            ]
            for row in x
        ]
    )


def opposed(x: Tensor, weight: Tensor) -> None:
    """Every product is negative: x Wᵀ = −|x||W|ᵀ, nothing is left of their halves."""
    x.abs_()
    weight.abs_().neg_()


def nearly_opposed(x: Tensor, weight: Tensor) -> None:
    """One small product in each sum agrees in sign."""
    opposed(x, weight)
    x[:, 0], weight[:, 0] = 1e-3, 2e-3


def some_zero(x: Tensor, weight: Tensor) -> None:
    x[::3] = 0
    weight[1] = 0


def all_zero(x: Tensor, weight: Tensor) -> None:
    x.zero_()


def agreeing(x: Tensor, weight: Tensor) -> None:
    x.abs_()
    weight.abs_()


def agreeing_but_small(x: Tensor, weight: Tensor) -> None:
    """So small that the rounding of a large bias shows, though nothing cancels."""
    agreeing(x.mul_(0.1), weight.mul_(0.1))


def as_drawn(x: Tensor, weight: Tensor) -> None:
    """Some sums cancel, most do not."""


HALVES = [as_drawn, agreeing, agreeing_but_small, opposed, nearly_opposed, some_zero, all_zero]


@pytest.mark.parametrize(("change", "size", "seed"), all_pairs(HALVES, [None, 1.0, 1e5, -1e5], [2, 3]))
def test_same_sign_products(change: Callable, size: float | None, seed: int) -> None:
    x, weight = (t.float() for t in draw(seed, (12, 24), (8, 24)))
    change(x, weight)
    bias = None if size is None else torch.full((8,), size)
    before = x.clone(), weight.clone(), None if bias is None else bias.clone()
    y = torch.nn.functional.linear(x, weight, bias)
    found = rules._same_sign_products(x, weight, bias, y if bias is None else y - bias)
    expected = naive_same_sign(x, weight)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-12)
    assert (found.numpy()[expected == 0] == 0).all() and (found >= 0).all()
    assert torch.equal(x, before[0]) and torch.equal(weight, before[1])
    assert bias is None or torch.equal(bias, before[2])


@pytest.mark.parametrize("size", [0.0, 1e5])
@pytest.mark.parametrize("change", HALVES)
def test_linear_where_halves_cancel_in_float32(change: Callable, size: float) -> None:
    x, weight, relevance = (t.float() for t in draw(2, (12, 24), (8, 24), (12, 8)))
    change(x, weight)
    (found,) = handed_on(lambda x: linear(x, weight, torch.full((8,), size)), [x], relevance)
    expected = naive_linear(*(t.double().numpy() for t in (x, weight, relevance)))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3 * np.abs(expected).max(initial=1e-9))


# Convolution and pixels

GEOMETRIES = [  # stride, padding, dilation, groups
    (1, 0, 1, 1),
    (2, 1, 1, 1),
    ((2, 1), (0, 1), 1, 1),
    (1, 1, 2, 1),
    (1, 0, 1, 2),
    ((3, 2), (1, 2), (1, 2), 2),
]
KERNEL, PICTURE = (2, 3), (5, 6)


def pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


def products(shape: tuple[int, ...], weight: ndarray, out: tuple[int, ...], geometry: tuple) -> list[tuple]:
    """(place in the output, place in the input, place in the weight) of every product of a convolution."""
    stride, padding, dilation, (groups, _) = map(pair, geometry)
    found = []
    for b, o, y, x in places(out):
        first = o // (out[1] // groups) * weight.shape[1]
        for c, i, j in places(weight.shape[1:]):
            row = y * stride[0] + i * dilation[0] - padding[0]
            column = x * stride[1] + j * dilation[1] - padding[1]
            if 0 <= row < shape[2] and 0 <= column < shape[3]:
                found.append(((b, o, y, x), (b, first + c, row, column), (o, c, i, j)))
    return found


def naive_convolution(x: ndarray, weight: ndarray, relevance: ndarray, geometry: tuple) -> ndarray:
    z, given, terms = np.zeros_like(relevance), np.zeros_like(x), {}
    for out, source, at in products(x.shape, weight, relevance.shape, geometry):
        part = plus(x[source]) * plus(weight[at]) + minus(x[source]) * minus(weight[at])
        z[out] += part
        terms.setdefault(out, []).append((source, part))
    for out, parts in terms.items():
        for source, part in parts:
            given[source] += part * divide(relevance[out], z[out])
    return given


def naive_pixels(x: ndarray, weight: ndarray, relevance: ndarray, geometry: tuple) -> ndarray:
    """The z^B rule: bounds are the least and the greatest value of each picture."""
    low, high = [picture.min() for picture in x], [picture.max() for picture in x]
    z, given, terms = np.zeros_like(relevance), np.zeros_like(x), {}
    for out, source, at in products(x.shape, weight, relevance.shape, geometry):
        b, w = source[0], weight[at]
        part = x[source] * w - low[b] * plus(w) - high[b] * minus(w)
        z[out] += part
        terms.setdefault(out, []).append((source, part))
    for out, parts in terms.items():
        for source, part in parts:
            given[source] += part * divide(relevance[out], z[out])
    return given


@pytest.mark.parametrize(
    ("formula", "geometry", "seed"),
    all_pairs([(rules.Convolution, naive_convolution), (rules.Pixels, naive_pixels)], GEOMETRIES, [0, 1]),
)
def test_convolutions(formula: tuple[type, Callable], geometry: tuple, seed: int) -> None:
    rule, naive = formula
    x, weight, bias = draw(seed, (2, 4, *PICTURE), (2, 4 // geometry[3], *KERNEL), (2,))
    x[1] *= 3  # other bounds
    z = torch.nn.functional.conv2d(x, weight, bias, *geometry)
    (relevance,) = draw(seed + 2, tuple(z.shape))
    (found,) = handed_on(lambda x: rule.apply(x, weight, bias, *geometry), [x], relevance)
    same(found, naive(x.numpy(), weight.numpy(), relevance.numpy(), geometry))
    assert torch.equal(rule.apply(x, weight, bias, *geometry), z)


@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "groups"),
    all_pairs([1, 2, (3, 2)], [0, 1, (2, 0)], [1, 2, (2, 1)], [1, 2]),
)
def test_transposed_convolution(stride: object, padding: object, dilation: object, groups: int) -> None:
    """Sizes that the stride does not divide: the last rows and columns are read by nothing."""
    geometry = (stride, padding, dilation, groups)
    x, weight = draw(2, (2, 4, 8, 9), (6, 4 // groups, *KERNEL))
    (share,) = draw(4, tuple(torch.nn.functional.conv2d(x, weight, None, *geometry).shape))
    found = rules._transposed(x.shape, weight, share, *geometry)
    same(found, torch.nn.grad.conv2d_input(x.shape, weight, share, *geometry).numpy())


def naive_transposed(x: ndarray, weight: ndarray, relevance: ndarray, geometry: tuple) -> ndarray:
    """By the matrix of what it computes: a linear layer on all of a picture."""
    places = np.prod(x.shape[1:])
    units = torch.eye(places, dtype=torch.float64).reshape(places, *x.shape[1:])
    matrix = torch.nn.functional.conv_transpose2d(units, torch.from_numpy(weight), None, *geometry)
    found = naive_linear(
        x.reshape(len(x), -1), matrix.flatten(1).T.numpy(), relevance.reshape(len(relevance), -1)
    )
    return found.reshape(x.shape)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    "geometry", [(2, 0, 0, 1, 1), (1, 1, 0, 2, 1), ((2, 1), (1, 0), (1, 0), 1, (1, 2)), (3, 0, 2, 2, 1)]
)
def test_the_rule_of_a_transposed_convolution(geometry: tuple, seed: int) -> None:
    """``geometry``: stride, padding, output padding, groups, dilation."""
    x, weight, bias = draw(seed, (2, 2, 3, 4), (2, 4 // geometry[3], 2, 2), (4,))
    z = torch.nn.functional.conv_transpose2d(x, weight, bias, *geometry)
    (relevance,) = draw(seed + 2, tuple(z.shape))
    rule = lambda x: rules.TransposedConvolution.apply(x, weight, bias, *geometry)  # noqa: E731
    (found,) = handed_on(rule, [x], relevance)
    same(found, naive_transposed(x.numpy(), weight.numpy(), relevance.numpy(), geometry))
    assert torch.equal(rule(x), z)


@pytest.mark.parametrize("rule", [rules.Convolution, rules.Pixels])
def test_a_picture_of_zeros_gets_nothing(rule: type) -> None:
    weight, relevance = draw(4, (3, 2, 2, 2), (1, 3, 2, 2))
    x = torch.zeros(1, 2, 4, 4, dtype=torch.float64)
    (found,) = handed_on(lambda x: rule.apply(x, weight, None, 2, 0, 1, 1), [x], relevance)
    assert (found == 0).all()


def test_pixels_keep_the_sum_of_each_picture() -> None:
    x, weight, relevance = draw(8, (3, 3, 4, 4), (5, 3, 2, 2), (3, 5, 2, 2))
    (found,) = handed_on(lambda x: rules.Pixels.apply(x, weight, None, 2, 0, 1, 1), [x], relevance)
    np.testing.assert_allclose(found.sum((1, 2, 3)), relevance.sum((1, 2, 3)), rtol=1e-6)


# Matrix products


def naive_matmul(a: ndarray, b: ndarray, relevance: ndarray) -> list[ndarray]:
    given_a, given_b, inner = np.zeros_like(a), np.zeros_like(b), a.shape[-1]
    for *lead, i, j in places(relevance.shape):
        lead = tuple(lead)
        in_a = [(*home(lead, a.shape[:-2]), i, k) for k in range(inner)]
        in_b = [(*home(lead, b.shape[:-2]), k, j) for k in range(inner)]
        z = sum(a[p] * b[q] for p, q in zip(in_a, in_b, strict=True))
        share = divide(relevance[(*lead, i, j)], z)
        for p, q in zip(in_a, in_b, strict=True):
            given_a[p] += 0.5 * a[p] * share * b[q]
            given_b[q] += 0.5 * b[q] * a[p] * share
    return [given_a, given_b]


MATMULS = [
    ((2, 3), (3, 4), ()),
    ((2, 2, 3), (2, 3, 1), (2,)),
    ((2, 3, 2, 2), (2, 3, 2, 3), (2, 3)),
    ((2, 2, 3), (3, 2), (2,)),  # one matrix for the whole batch
    ((1, 2, 2, 3), (2, 2, 3, 2), (2, 2)),
    ((2, 1, 2, 3), (1, 2, 3, 2), (2, 2)),
]


@pytest.mark.parametrize(("shapes", "seed"), in_turn(MATMULS, range(6), times=2))
def test_matmul(shapes: tuple[tuple, tuple, tuple], seed: int) -> None:
    left, right, lead = shapes
    a, b, relevance = draw(seed, left, right, (*lead, left[-2], right[-1]))
    found = handed_on(matmul, [a, b], relevance)
    for ours, theirs in zip(found, naive_matmul(a.numpy(), b.numpy(), relevance.numpy()), strict=True):
        same(ours, theirs)


def test_matmul_gives_nothing_where_the_products_cancel() -> None:
    a = torch.tensor([[1.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
    b = torch.tensor([[2.0], [-2.0]], dtype=torch.float64)  # Z = [0, 2]
    found = handed_on(matmul, [a, b], torch.tensor([[5.0], [4.0]], dtype=torch.float64))
    np.testing.assert_allclose(found[0], [[0, 0], [2, 0]], atol=1e-7)
    np.testing.assert_allclose(found[1], [[2], [0]], atol=1e-7)


@quick
@given(seed=seeds, batch=sizes)
def test_matmul_gives_each_operand_half(seed: int, batch: int) -> None:
    a, b, relevance = draw(seed - seed % 2, (batch, 2, 3), (batch, 3, 2), (batch, 2, 2))
    for found in handed_on(matmul, [a.abs() + 0.1, b.abs() + 0.1], relevance):
        np.testing.assert_allclose(found.sum((1, 2)), 0.5 * relevance.numpy().sum((1, 2)), atol=1e-7)


def test_codes_that_cancel_do_not_explode_in_float32() -> None:
    """Quantized queries and keys are codes times a scale: sums of theirs are often 0 but for rounding."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randint(-8, 8, shape, generator=generator) for shape in ((65, 16), (16, 65)))
    assert (a @ b == 0).any()
    scaled = [(a * 0.0731).float(), (b * 0.1137).float()]
    found = handed_on(matmul, scaled, torch.ones(65, 65))
    exact = handed_on(matmul, [a.double(), b.double()], torch.ones(65, 65).double())
    for ours, theirs in zip(found, exact, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-3 * np.abs(theirs).max())


def naive_without_rounding(a: ndarray, b: ndarray, z: ndarray, epsilon: float) -> ndarray:
    """0 where |Z| ≤ ε·√K·‖row of a‖·‖column of b‖"""
    kept, inner = z.copy(), a.shape[-1]
    for *lead, i, j in places(z.shape):
        row = [a[(*home(tuple(lead), a.shape[:-2]), i, k)] for k in range(inner)]
        column = [b[(*home(tuple(lead), b.shape[:-2]), k, j)] for k in range(inner)]
        sizes = [sum(float(v) ** 2 for v in values) ** 0.5 for values in (row, column)]
        if abs(z[(*lead, i, j)]) <= epsilon * inner**0.5 * sizes[0] * sizes[1]:
            kept[(*lead, i, j)] = 0.0
    return kept


@pytest.mark.parametrize(
    ("shapes", "seed", "dtype"), all_pairs(MATMULS, [2, 3], [torch.float32, torch.float64])
)
def test_without_rounding(shapes: tuple[tuple, tuple, tuple], seed: int, dtype: torch.dtype) -> None:
    """Results from 1e-3 to 1e3 times the bound, of either sign, and those that are exactly 0."""
    left, right, lead = shapes
    a, b, spread = draw(seed, left, right, (*lead, left[-2], right[-1]))
    a, b = a.to(dtype), b.to(dtype)
    epsilon = torch.finfo(dtype).eps
    noise = epsilon * left[-1] ** 0.5 * a.norm(dim=-1)[..., :, None] * b.norm(dim=-2)[..., None, :]
    generator = torch.Generator().manual_seed(seed)
    factor = 10 ** (6 * torch.rand(spread.shape, generator=generator) - 3)
    z = (noise * factor * spread.sign()).to(dtype)
    before = z.clone()
    expected = naive_without_rounding(a.numpy(), b.numpy(), z.numpy(), epsilon)
    found = rules.without_rounding(a, b, z)
    assert torch.equal(z, before), "what the model computed stays"
    assert (found.numpy() == expected).all()
    assert (expected == 0).any() and ((expected != 0).any() or seed % 2), "both kinds are there"


def test_rounding_of_operands_of_zero_is_zero() -> None:
    a, b = torch.zeros(2, 3), torch.ones(3, 2)
    assert (rules.without_rounding(a, b, a @ b) == 0).all()
    assert torch.equal(rules.without_rounding(b.T, b, b.T @ b), b.T @ b)


def test_matmul_treats_what_rounding_leaves_as_nothing() -> None:
    """0.1 · 3 − 0.3 · 1 is 5e-17, not 0; the other product is as small, but is all there is."""
    a = torch.tensor([[0.1, 0.3], [1e-9, 0.0]], dtype=torch.float64)
    b = torch.tensor([[3.0], [-1.0]], dtype=torch.float64)
    assert 0 < abs(float((a @ b)[0])) < 1e-15
    found = handed_on(matmul, [a, b], torch.tensor([[5.0], [4.0]], dtype=torch.float64))
    np.testing.assert_allclose(found[0], [[0, 0], [2 * 3e-9 / 4e-9, 0]], atol=1e-7)
    np.testing.assert_allclose(found[1], [[2 * 3e-9 / 4e-9], [0]], atol=1e-7)


def test_matmul_of_a_known_product_is_the_same() -> None:
    a, b, relevance = draw(2, (2, 2, 3), (2, 3, 4), (2, 2, 4))
    found = handed_on(lambda a, b: rules.MatMul.apply(a, b, a.detach() @ b.detach()), [a, b], relevance)
    for ours, theirs in zip(found, naive_matmul(a.numpy(), b.numpy(), relevance.numpy()), strict=True):
        same(ours, theirs)


def test_matmul_with_a_constant_gives_the_other_its_half() -> None:
    """Attention pooling: the query is a parameter, only the keys come from the picture."""
    a, b, relevance = draw(2, (2, 2, 3), (2, 3, 2), (2, 2, 2))
    (found,) = handed_on(lambda b: matmul(a, b), [b], relevance)
    same(found, naive_matmul(a.numpy(), b.numpy(), relevance.numpy())[1])


# Additions

ADDITIONS = [
    ((2, 3), (2, 3)),
    ((3, 2, 4), (3, 2, 4)),
    ((3, 2, 4), (1, 2, 4)),  # a position embedding
    ((1, 2, 4), (3, 2, 4)),
    ((2, 3, 4), (4,)),
    ((2, 3, 2), (2, 1, 2)),
    ((1, 3, 1), (2, 1, 4)),
]


def naive_add(a: ndarray, c: ndarray, relevance: ndarray) -> list[ndarray]:
    given = [np.zeros_like(a), np.zeros_like(c)]
    for picture in range(relevance.shape[0]):
        inside = [(picture, *rest) for rest in places(relevance.shape[1:])]
        parts: list[dict] = [{}, {}]
        for at in inside:
            z = a[home(at, a.shape)] + c[home(at, c.shape)]
            for part, operand in zip(parts, (a, c), strict=True):
                part[at] = operand[home(at, operand.shape)] * divide(relevance[at], z)
        sums = [sum(part.values()) for part in parts]
        total = sum(relevance[at] for at in inside)
        for result, part, own in zip(given, parts, sums, strict=True):
            wanted = divide(abs(own), abs(sums[0]) + abs(sums[1])) * total
            for at, value in part.items():
                result[home(at, result.shape)] += value * divide(wanted, own)
    return given


@pytest.mark.parametrize(("shapes", "seed"), in_turn(ADDITIONS, range(6), times=2))
def test_add(shapes: tuple[tuple, tuple], seed: int) -> None:
    left, right = shapes
    a, c, relevance = draw(seed, left, right, np.broadcast_shapes(left, right))
    found = handed_on(rules.Add.apply, [a, c], relevance)
    for ours, theirs in zip(found, naive_add(a.numpy(), c.numpy(), relevance.numpy()), strict=True):
        same(ours, theirs)


def test_add_by_hand() -> None:
    """Two pictures, so that a sum over the batch would show."""
    a, c = torch.tensor([[1.0, 3.0], [1.0, 1.0]]).double(), torch.tensor([[1.0, 1.0], [3.0, -1.0]]).double()
    relevance = torch.tensor([[4.0, 8.0], [8.0, 8.0]]).double()
    # Picture 0: r_a = [2, 6], r_c = [2, 2], nothing to rescale.
    # Picture 1: Z = [4, 0], r_a = [2, 0], r_c = [6, 0], rescaled to ¼ and ¾ of 16.
    found = handed_on(rules.Add.apply, [a, c], relevance)
    np.testing.assert_allclose(found[0], [[2, 6], [4, 0]], atol=1e-6)
    np.testing.assert_allclose(found[1], [[2, 2], [12, 0]], atol=1e-6)


def test_add_gives_nothing_where_everything_cancels() -> None:
    a, relevance = draw(2, (2, 3), (2, 3))
    for found in handed_on(rules.Add.apply, [a, -a], relevance):
        assert (found == 0).all()


@quick
@given(seed=seeds, case=st.sampled_from(ADDITIONS))
def test_add_keeps_the_sum(seed: int, case: tuple) -> None:
    left, right = case
    a, c, relevance = draw(seed - seed % 2, left, right, np.broadcast_shapes(left, right))
    found = handed_on(rules.Add.apply, [a, c], relevance)
    assert sum(part.sum() for part in found) == pytest.approx(float(relevance.sum()), abs=1e-6)
    if left[0] == right[0] > 1:
        per_picture = sum(part.reshape(len(part), -1).sum(1) for part in found)
        np.testing.assert_allclose(per_picture, relevance.flatten(1).sum(1), atol=1e-6)


@quick
@given(seed=seeds)
def test_a_picture_does_not_hear_of_its_neighbours_in_the_batch(seed: int) -> None:
    a, c, relevance = draw(seed, (4, 2, 3), (4, 2, 3), (4, 2, 3))
    together = handed_on(rules.Add.apply, [a, c], relevance)
    for i in range(4):
        alone = handed_on(rules.Add.apply, [a[i : i + 1], c[i : i + 1]], relevance[i : i + 1])
        for whole, part in zip(together, alone, strict=True):
            same(whole[i : i + 1], part)


# Elementwise products, means, identity


@pytest.mark.parametrize(("left", "right"), ADDITIONS)
def test_product_gives_each_operand_half(left: tuple, right: tuple) -> None:
    a, c, relevance = draw(3, left, right, np.broadcast_shapes(left, right))
    expected = [np.zeros(left), np.zeros(right)]
    for at in places(relevance.shape):
        for result in expected:
            result[home(at, result.shape)] += 0.5 * relevance[at]
    found = handed_on(rules.Product.apply, [a, c], relevance)
    for ours, theirs in zip(found, expected, strict=True):
        same(ours, theirs)


def naive_mean(x: ndarray, dims: tuple[int, ...], relevance: ndarray) -> ndarray:
    """``relevance`` with the pooled axes kept: x ⊙ ∂Z/∂x · R/Z, ∂Z/∂x = 1/count."""
    groups: dict[tuple, list] = {}
    for at in places(x.shape):
        pooled = tuple(0 if axis in dims else index for axis, index in enumerate(at))
        groups.setdefault(pooled, []).append(at)
    given = np.zeros_like(x)
    for pooled, members in groups.items():
        z = sum(x[at] for at in members) / len(members)
        for at in members:
            given[at] = x[at] / len(members) * divide(relevance[pooled], z)
    return given


@pytest.mark.parametrize(
    ("dim", "keepdim", "seed"),
    all_pairs([1, -1, (1, 2), (-2, -1), (0, 1, 2)], [False, True], [0, 1, 2, 3]),
)
def test_mean(dim: int | tuple, keepdim: bool, seed: int) -> None:
    (x,) = draw(seed, (2, 4, 2))
    dims = tuple(d % 3 for d in (dim if isinstance(dim, tuple) else (dim,)))
    kept = tuple(1 if axis in dims else size for axis, size in enumerate(x.shape))
    (relevance,) = draw(seed + 4, kept)
    z = x.mean(dim, keepdim)
    (found,) = handed_on(lambda x: rules.Mean.apply(x, dim, keepdim), [x], relevance.reshape(z.shape))
    same(found, naive_mean(x.numpy(), dims, relevance.numpy()))
    assert torch.equal(rules.Mean.apply(x, dim, keepdim), z)


def test_a_mean_that_cancels_gives_nothing_and_any_other_keeps_the_sum() -> None:
    x = torch.tensor([[1.0, -1.0], [1.0, 2.0]], dtype=torch.float64)
    relevance = torch.tensor([6.0, 6.0], dtype=torch.float64)
    (found,) = handed_on(lambda x: rules.Mean.apply(x, 1, False), [x], relevance)
    same(found[0], np.zeros(2))
    np.testing.assert_allclose(found[1], [2.0, 4.0], atol=1e-7)


def test_identity_shows_the_value_and_hands_on_the_relevance() -> None:
    x, y, relevance = draw(5, (2, 3), (2, 3), (2, 3))
    assert torch.equal(rules.Identity.apply(x.requires_grad_(), y), y)
    (found,) = handed_on(lambda x: rules.Identity.apply(x, y), [x.detach()], relevance)
    assert (found == relevance.numpy()).all()


# Forward


FORWARDS = {
    "linear": (linear, torch.nn.functional.linear, [(2, 3), (4, 3), (4,)]),
    "matmul": (matmul, torch.matmul, [(2, 3, 4), (2, 4, 1)]),
    "add": (rules.Add.apply, torch.add, [(2, 3, 4), (1, 3, 1)]),
    "product": (rules.Product.apply, torch.mul, [(2, 3, 4), (1, 3, 1)]),
}


@pytest.mark.parametrize("name", FORWARDS)
def test_rules_compute_what_the_operation_computes(name: str) -> None:
    rule, operation, shapes = FORWARDS[name]
    operands = draw(0, *shapes)
    assert torch.equal(rule(*operands), operation(*operands))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rules_stay_in_the_type_of_their_operands(dtype: torch.dtype) -> None:
    a, c = (t.to(dtype).requires_grad_() for t in draw(0, (2, 2), (2, 2)))
    for rule in (rules.Add.apply, matmul, rules.Product.apply):
        found = torch.autograd.grad(rule(a, c), [a, c], torch.ones(2, 2, dtype=dtype))
        assert all(part.dtype == dtype for part in found)


@pytest.mark.parametrize(
    ("rule", "shapes"),
    [
        (linear, ((3, 5, 6), (7, 6))),
        (matmul, ((5, 2, 3, 4), (5, 2, 4, 6))),
        (matmul, ((5, 2, 3, 4), (4, 6))),
        (matmul, ((2, 3, 4), (5, 2, 4, 6))),
        (matmul, ((3, 4), (4, 6))),
    ],
)
@pytest.mark.parametrize("piece", [1, 40])
def test_pieces_change_nothing(
    rule: Callable, shapes: tuple, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    operands = draw(2, *shapes)
    (relevance,) = draw(4, tuple(rule(*operands).shape))
    wanted = operands[:1] if rule is linear else operands
    applied = (lambda x: linear(x, operands[1])) if rule is linear else rule
    whole = handed_on(applied, wanted, relevance)
    monkeypatch.setattr(rules, "PIECE", piece)
    for found, expected in zip(handed_on(applied, wanted, relevance), whole, strict=True):
        same(found, expected)
