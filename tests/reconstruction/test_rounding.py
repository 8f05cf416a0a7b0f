"""AdaRound: the soft weight, its regularizer and their gradients against a twin that autograd derives."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vitq_core.common.errors import VitqError
from vitq_core.quantized.simulation import SimulatedWeight
from vitq_core.quantizers import LogSqrt2, Uniform
from vitq_core.recipes.recipe import MAX_BITS, MIN_BITS
from vitq_core.reconstruction.rounding import Rounding

CASES = {
    "bits": st.integers(MIN_BITS, MAX_BITS),
    "shape": st.sampled_from([(1, 1), (3, 1), (1, 40), (6, 40), (5, 3, 4, 4), (2, 7, 5)]),
    "axis": st.sampled_from([0, None]),
    "seed": st.integers(0, 2**20),
}
every_case = given(**CASES)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def weight_of(shape: tuple[int, ...], seed: int) -> Tensor:
    """Rows of different size, shifted, a fifth of the values far outside the range of the others."""
    rows = torch.logspace(-2, 1, shape[0]).reshape(-1, *[1] * (len(shape) - 1))
    far = torch.where(noise(*shape, seed=seed + 1) > 0.84, 3.0, 1.0)
    return (noise(*shape, seed=seed) + 0.2) * rows * far


def quantizer_of(weight: Tensor, bits: int, axis: int | None) -> Uniform:
    """Fitted to the middle of the weight, so that values on both sides lie outside."""
    return Uniform(bits, axis, "minmax").fit(0.6 * weight)


def rounding_of(
    shape: tuple[int, ...], bits: int, axis: int | None, seed: int, learn_scale: bool = False
) -> tuple[Rounding, SimulatedWeight, Tensor]:
    weight = weight_of(shape, seed)
    parametrization = SimulatedWeight(quantizer_of(weight, bits, axis))
    return Rounding(parametrization, weight, learn_scale), parametrization, weight


def naive(weight: Tensor, v: Tensor, scale: Tensor, quantizer: Uniform) -> tuple[Tensor, Tensor]:
    """``Ŵ`` and ``h(v)`` as methods.md has them; which codes a weight lies between is decided in float32."""
    below = (weight / quantizer.scale.detach()).floor().double()
    h = (torch.sigmoid(v) * 1.2 - 0.1).clamp(0, 1)
    zero_point = quantizer.zero_point.double()
    return scale * ((below + h + zero_point).clamp(0, 2**quantizer.bits - 1) - zero_point), h


def free(weight: Tensor, quantizer: Uniform) -> Tensor:
    """Where rounding up and rounding down are two different codes."""
    code = (weight / quantizer.scale).floor() + quantizer.zero_point
    return (code >= 0) & (code < 2**quantizer.bits - 1)


def near(found: Tensor, expected: Tensor) -> None:
    largest = float(expected.abs().max())
    torch.testing.assert_close(found.double(), expected, atol=1e-5 * largest + 1e-12, rtol=1e-4)


@settings(max_examples=60)
@every_case
def test_before_the_first_step_the_weight_is_the_float_one_inside_the_range(bits, shape, axis, seed) -> None:
    rounding, parametrization, weight = rounding_of(shape, bits, axis, seed)
    rounding.show()
    quantizer, shown = parametrization.quantizer, parametrization(weight).detach()
    low, high = (limit * quantizer.scale for limit in quantizer.limits())
    nearest = weight.clamp(low.expand_as(weight), high.expand_as(weight))
    torch.testing.assert_close(shown, nearest, rtol=1e-4, atol=1e-5 * float(weight.abs().max()))


@settings(max_examples=60)
@given(
    **CASES,
    pull=st.sampled_from([0.0, 0.01, 2.0]),
    beta=st.floats(2.0, 20.0),
    learn_scale=st.booleans(),
)
def test_gradients_are_autograds(
    bits, shape, axis, seed, pull: float, beta: float, learn_scale: bool
) -> None:
    rounding, parametrization, weight = rounding_of(shape, bits, axis, seed, learn_scale)
    with torch.no_grad():
        rounding.v += 2 * noise(*shape, seed=seed + 2)  # some h then are 0 or 1
    quantizer, direction = parametrization.quantizer, noise(*shape, seed=seed + 3)
    rounding.show()
    (parametrization(weight) * direction).sum().backward()
    rounding.collect(pull, beta)

    v = rounding.v.detach().double().requires_grad_()
    scale = quantizer.scale.detach().double().requires_grad_()
    soft, h = naive(weight, v, scale, quantizer)
    near(parametrization(weight).detach(), soft.detach())
    loose = free(weight, quantizer)
    regularizer = (1 - (2 * h - 1).abs() ** beta)[loose].sum()
    ((soft * direction).sum() + pull * regularizer).backward()
    near(rounding.v.grad, v.grad)
    assert (rounding.v.grad[~loose] == 0).all()
    if learn_scale:
        near(rounding.scale.grad, scale.grad)
    else:
        assert rounding.scale.grad is None


def test_gradients_do_not_add_up_over_iterations() -> None:
    rounding, parametrization, weight = rounding_of((6, 40), 4, 0, 5, learn_scale=True)
    gradients = []
    for _ in range(2):
        rounding.show()
        parametrization(weight).square().sum().backward()
        rounding.collect(0.1, 4.0)
        gradients.append((rounding.v.grad.clone(), rounding.scale.grad.clone()))
    assert torch.equal(gradients[0][0], gradients[1][0])
    assert torch.equal(gradients[0][1], gradients[1][1])


@settings(max_examples=60)
@every_case
def test_settled_is_up_where_v_is_not_negative(bits, shape, axis, seed) -> None:
    rounding, parametrization, weight = rounding_of(shape, bits, axis, seed)
    quantizer, before = parametrization.quantizer, weight.clone()
    up = noise(*shape, seed=seed + 2) > 0
    with torch.no_grad():
        rounding.v.copy_(torch.where(up, 0.0, -1e-6))  # 0 is up
    rounding.settle(weight)
    codes = ((before / quantizer.scale).floor() + up + quantizer.zero_point).clamp(0, 2**bits - 1)
    assert torch.equal(quantizer.encode(weight).float(), codes)
    assert torch.equal(parametrization(weight), quantizer(weight))
    assert torch.equal(parametrization(weight), weight), "what the codes stand for"


@pytest.mark.parametrize("learn_scale", [False, True])
def test_a_scale_stays_unless_it_is_learned(learn_scale: bool) -> None:
    rounding, parametrization, weight = rounding_of((6, 40), 4, 0, 0, learn_scale)
    fitted = parametrization.quantizer.scale.clone()
    assert rounding.scale.requires_grad == learn_scale
    if learn_scale:
        with torch.no_grad():
            rounding.scale.mul_(1.5)
    codes = parametrization.quantizer.encode(weight)
    with torch.no_grad():
        rounding.v.copy_(torch.where(parametrization.quantizer(weight) >= weight, 1.0, -1.0))
    rounding.settle(weight)
    quantizer = parametrization.quantizer
    assert torch.equal(quantizer.scale, fitted * 1.5 if learn_scale else fitted)
    assert not quantizer.scale.requires_grad
    assert torch.equal(quantizer.encode(weight), codes), "codes do not move with the scale"
    assert torch.equal(parametrization(weight), weight)


def test_a_quantizer_without_a_grid_is_refused() -> None:
    weight = noise(3, 4).abs()
    with pytest.raises(VitqError, match="the rounding of LogSqrt2 weights cannot be learned"):
        Rounding(SimulatedWeight(LogSqrt2(4).fit(weight)), weight)
