"""Under the mode every operation's backward is its rule; what only moves values moves relevance."""

import operator
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitq_core import VitqError
from vitq_core.relevance import rules
from vitq_core.relevance.mode import IDENTITIES, RULES, RelevanceMode


def draw(*shapes: tuple[int, ...], seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def under_the_mode(operation: Callable, operands: list[Tensor]) -> tuple[Tensor, Tensor, list[Tensor]]:
    """(output, the relevance it was given, what every operand got)"""
    leaves = [operand.clone().requires_grad_() for operand in operands]
    with RelevanceMode():
        output = operation(*leaves)
    (relevance,) = draw(tuple(output.shape), seed=9)
    return output.detach(), relevance, list(torch.autograd.grad(output, leaves, relevance))


def by_rule(rule: Callable, operands: list[Tensor], relevance: Tensor) -> list[Tensor]:
    leaves = [operand.clone().requires_grad_() for operand in operands]
    return list(torch.autograd.grad(rule(*leaves), leaves, relevance))


def agree(operation: Callable, rule: Callable, operands: list[Tensor]) -> None:
    output, relevance, found = under_the_mode(operation, operands)
    torch.testing.assert_close(output, operation(*[operand.clone() for operand in operands]))
    for ours, theirs in zip(found, by_rule(rule, operands, relevance), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


# Rules

(SCALE,) = draw((4,), seed=2)
WEIGHT, KERNEL, OTHER_KERNEL, BIAS = draw((4, 3), (4, 3, 2, 2), (4, 1, 2, 2), (4,), seed=1)


def linear(x: Tensor) -> Tensor:
    return rules.Linear.apply(x, WEIGHT, BIAS, None)


def linear_without_bias(x: Tensor) -> Tensor:
    return rules.Linear.apply(x, WEIGHT, None, None)


def matmul(a: Tensor, b: Tensor) -> Tensor:
    return rules.MatMul.apply(a, b, None)


# What was written → its rule and the shapes of the operands.
WRITTEN = {
    "F.linear": (lambda x: F.linear(x, WEIGHT, BIAS), linear, [(2, 5, 3)]),
    "F.linear without bias": (lambda x: F.linear(x, WEIGHT), linear_without_bias, [(2, 5, 3)]),
    "F.linear by name": (lambda x: F.linear(x, weight=WEIGHT, bias=BIAS), linear, [(2, 5, 3)]),
    "@": (operator.matmul, matmul, [(2, 3, 4), (2, 4, 3)]),
    "torch.matmul": (torch.matmul, matmul, [(2, 3, 4), (4, 3)]),
    "torch.bmm": (torch.bmm, matmul, [(2, 3, 4), (2, 4, 3)]),
    "Tensor.matmul": (lambda a, b: a.matmul(b), matmul, [(2, 3, 4), (2, 4, 3)]),
    "+": (operator.add, rules.Add.apply, [(2, 3, 4), (1, 3, 4)]),
    "+=": (operator.iadd, rules.Add.apply, [(2, 3, 4), (1, 3, 4)]),
    "torch.add": (torch.add, rules.Add.apply, [(2, 3, 4), (2, 3, 4)]),
    "*": (operator.mul, rules.Product.apply, [(2, 3, 4), (2, 3, 4)]),
    "*=": (operator.imul, rules.Product.apply, [(2, 3, 4), (2, 3, 1)]),
    "torch.mul": (torch.mul, rules.Product.apply, [(2, 3, 4), (2, 1, 4)]),
    "mean": (lambda x: x.mean(1), lambda x: rules.Mean.apply(x, 1, False), [(2, 3, 4)]),
    "mean, dim by name": (
        lambda x: torch.mean(x, dim=(1, 2), keepdim=True),
        lambda x: rules.Mean.apply(x, (1, 2), True),
        [(2, 3, 4)],
    ),
    "mean of all": (lambda x: x.mean(), lambda x: rules.Mean.apply(x, (0, 1, 2), False), [(2, 3, 4)]),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_operations_follow_their_rules(name: str) -> None:
    operation, rule, shapes = WRITTEN[name]
    agree(operation, rule, draw(*shapes))


@pytest.mark.parametrize(
    "add",
    [
        lambda x, c: x + c,
        lambda x, c: c + x,
        lambda x, c: torch.add(x, c),
        lambda x, c: x.clone().add_(c),
        lambda x, c: x.expand_as(x).__iadd__(c),
    ],
)
def test_a_constant_tensor_takes_its_part_of_a_sum(add: Callable) -> None:
    """As the position embedding does, which nobody asks for its relevance."""
    x, c = draw((2, 3, 4), (1, 3, 4))
    _, relevance, (found,) = under_the_mode(lambda x: add(x, c), [x])
    torch.testing.assert_close(found, by_rule(rules.Add.apply, [x, c], relevance)[0])


@pytest.mark.parametrize(
    "operation",
    [
        lambda x: x + 1,
        lambda x: 1.5 + x,
        lambda x: x - 2,
        lambda x: x / 3,
        lambda x: x * -2,
        lambda x: -2 * x,
        lambda x: x * SCALE,
        lambda x: SCALE * x,
        lambda x: x.clone().mul_(SCALE),
        lambda x: x / SCALE,
    ],
)
def test_numbers_and_constant_scales_take_nothing(operation: Callable) -> None:
    (x,) = draw((2, 3, 4))
    output, relevance, (found,) = under_the_mode(operation, [x])
    assert torch.equal(found, relevance) and torch.equal(output, operation(x))


def test_a_scale_that_broadcasts_the_activation_sums_its_relevance() -> None:
    (x,) = draw((2, 1, 4))
    _, relevance, (found,) = under_the_mode(lambda x: x * torch.ones(3, 1, dtype=x.dtype), [x])
    torch.testing.assert_close(found, relevance.sum(1, keepdim=True))


def test_a_fork_sums_its_branches() -> None:
    (x,) = draw((2, 3))
    _, relevance, (found,) = under_the_mode(lambda x: torch.cat([x * 2, F.gelu(x)], 1), [x])
    torch.testing.assert_close(found, relevance[:, :3] + relevance[:, 3:])


# Convolutions


def test_the_first_convolution_reads_pixels_and_the_others_features() -> None:
    x, second = draw((2, 3, 6, 6), (2, 4, 2, 2))
    agree(
        lambda x: F.conv2d(F.conv2d(x, KERNEL, BIAS, stride=2), second, None, 1, 1),
        lambda x: rules.Convolution.apply(
            rules.Pixels.apply(x, KERNEL, BIAS, 2, 0, 1, 1), second, None, 1, 1, 1, 1
        ),
        [x],
    )


@pytest.mark.parametrize(
    ("arguments", "named", "geometry"),
    [
        ((2,), {}, (2, 0, 1, 1)),
        ((2, 1), {}, (2, 1, 1, 1)),
        ((1, 0, 2, 1), {}, (1, 0, 2, 1)),
        ((), {"padding": (1, 0), "dilation": 2}, (1, (1, 0), 2, 1)),
        ((2,), {"padding": 1}, (2, 1, 1, 1)),
    ],
)
def test_convolutions_of_any_geometry(arguments: tuple, named: dict, geometry: tuple) -> None:
    agree(
        lambda x: F.conv2d(x, KERNEL, BIAS, *arguments, **named),
        lambda x: rules.Pixels.apply(x, KERNEL, BIAS, *geometry),
        draw((2, 3, 5, 6)),
    )


def test_grouped_convolutions() -> None:
    agree(
        lambda x: F.conv2d(x, OTHER_KERNEL, groups=2),
        lambda x: rules.Pixels.apply(x, OTHER_KERNEL, None, 1, 0, 1, 2),
        draw((2, 2, 4, 4)),
    )


def test_every_forward_has_a_first_convolution_of_its_own() -> None:
    x = draw((1, 3, 4, 4))
    pixels = under_the_mode(lambda x: F.conv2d(x, KERNEL), x)[2]
    assert torch.equal(under_the_mode(lambda x: F.conv2d(x, KERNEL), x)[2][0], pixels[0])


# Attention


@pytest.mark.parametrize("scale", [None, 0.3])
def test_fused_attention_is_taken_apart(scale: float | None) -> None:
    def apart(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scores = matmul(q, k.transpose(-2, -1))
        factor = q.shape[-1] ** -0.5 if scale is None else scale
        attention = (scores.detach() * factor).softmax(-1)
        return matmul(rules.Identity.apply(scores, attention), v)

    agree(
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, scale=scale),
        apart,
        draw((2, 2, 3, 4), (2, 2, 5, 4), (2, 2, 5, 4)),
    )


@pytest.mark.parametrize("mask", [{"is_causal": True}, {"attn_mask": torch.zeros(3, 3).double()}])
def test_masked_fused_attention_is_refused(mask: dict) -> None:
    operands = draw((1, 1, 3, 2), (1, 1, 3, 2), (1, 1, 3, 2))
    with pytest.raises(VitqError, match="no rule for masked fused attention"):
        under_the_mode(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, **mask), operands)


# Identities

(GAIN,) = draw((4,), seed=3)
PASSED = {
    "layer_norm": lambda x: F.layer_norm(x, (4,), GAIN, GAIN),
    "rms_norm": lambda x: F.rms_norm(x, (4,), GAIN),
    "group_norm": lambda x: F.group_norm(x, 2, GAIN),
    "batch_norm": lambda x: F.batch_norm(x, torch.zeros(4).double(), torch.ones(4).double(), GAIN),
    "normalize": lambda x: F.normalize(x, dim=1),
    "softmax": lambda x: x.softmax(-1),
    "log_softmax": lambda x: F.log_softmax(x, -1),
    "dropout": lambda x: F.dropout(x, 0.5, False),
    "gelu": lambda x: F.gelu(x, approximate="tanh"),
    "relu": torch.relu,
    "relu6": F.relu6,
    "silu": F.silu,
    "mish": F.mish,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softplus": F.softplus,
    "hardtanh": F.hardtanh,
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "selu": F.selu,
    "celu": F.celu,
    "clamp": lambda x: x.clamp(-0.5, 0.5),
    "masked_fill": lambda x: x.masked_fill(MASK, 0.0),
    "sub": lambda x: x - GAIN,
    "div": lambda x: torch.div(x, GAIN),
    "truediv": lambda x: x / 2,
}
MASK = torch.tensor([True, False, False, True])


@pytest.mark.parametrize("name", PASSED)
def test_identities_pass_relevance_as_it_is(name: str) -> None:
    x = draw((2, 4))
    output, relevance, (found,) = under_the_mode(PASSED[name], x)
    assert torch.equal(found, relevance) and torch.equal(output, PASSED[name](x[0]))


def test_every_identity_is_tried() -> None:
    assert set(PASSED) == IDENTITIES and not IDENTITIES & set(RULES)


@pytest.mark.parametrize(
    "module", [nn.ReLU(inplace=True), nn.GELU(), nn.LayerNorm(4).double(), nn.Softmax(-1)]
)
def test_modules_pass_relevance_too(module: nn.Module) -> None:
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    _, relevance, (found,) = under_the_mode(lambda x: module(x * 1), draw((2, 4)))
    assert torch.equal(found, relevance)


def test_in_place_operations_leave_what_others_read() -> None:
    with RelevanceMode():
        x = torch.tensor([[-1.0, 2.0]], requires_grad=True) * 1
        y = F.relu(x, inplace=True)
    assert x.tolist() == [[-1.0, 2.0]] and y.tolist() == [[0.0, 2.0]]


@pytest.mark.parametrize("operation", [operator.sub, operator.truediv, torch.div])
def test_two_activations_without_a_rule_are_refused(operation: Callable) -> None:
    with pytest.raises(VitqError, match=r"relevance has no rule for \w+ of several activations"):
        under_the_mode(operation, draw((2, 3), (2, 3)))


def test_an_identity_that_changes_the_shape_is_refused() -> None:
    with pytest.raises(VitqError, match="no rule for"):
        under_the_mode(lambda x: x / torch.ones(3, 1, 1).double(), draw((2, 4)))


# Moves


MOVES = {
    "reshape": lambda x: x.reshape(2, 12),
    "permute": lambda x: x.permute(2, 0, 1),
    "roll": lambda x: x.roll((1, 2), (1, 2)),
    "select": lambda x: x[:, 0],
    "slice": lambda x: x[:, 1:, ::2],
    "flatten": lambda x: x.flatten(1),
    "chunk": lambda x: x.chunk(2, -1)[1],
    "unbind": lambda x: x.unbind(1)[2],
    "concatenate": lambda x: torch.cat([x, torch.ones_like(x)], 1),
    "expand": lambda x: x[:, :1].expand(-1, 5, -1),
    "greatest": lambda x: x.amax(1),
    "clone": lambda x: x.clone().contiguous(),
}


@pytest.mark.parametrize("name", MOVES)
def test_moves_move_relevance_as_gradients(name: str) -> None:
    (x,) = draw((2, 3, 4))
    _, relevance, (found,) = under_the_mode(MOVES[name], [x])
    leaf = x.requires_grad_()
    assert torch.equal(found, torch.autograd.grad(MOVES[name](leaf), leaf, relevance)[0])


# Operations without a rule must not fall back to their gradient in silence.


@pytest.mark.xfail(strict=True, reason="operations that are not known are differentiated instead")
@pytest.mark.parametrize(
    "operation",
    [
        lambda x: 1 - x,
        operator.neg,
        torch.square,
        lambda x: x.sum(1),
        lambda x: torch.einsum("bn,mn->bm", x, WEIGHT),
        lambda x: torch.mm(x, WEIGHT.T),
        lambda x: torch.multiply(x, x),
        lambda x: torch.divide(x, 2),
    ],
    ids=["1 - x", "-x", "square", "sum", "einsum", "mm", "multiply", "divide"],
)
def test_unknown_operations_are_refused_or_right(operation: Callable) -> None:
    (x,) = draw((2, 3))
    gradient = by_rule(operation, [x], draw(tuple(operation(x).shape), seed=9)[0])
    try:
        found = under_the_mode(operation, [x])[2]
    except VitqError:
        return
    assert not torch.allclose(found[0], gradient[0])


@pytest.mark.xfail(strict=True, reason="in-place operations whose result is not assigned are lost")
@pytest.mark.parametrize("name", ["add_", "mul_"])
def test_in_place_statements_count(name: str) -> None:
    def operation(x: Tensor) -> Tensor:
        y = x * 1
        getattr(y, name)(3)
        return y

    (x,) = draw((2, 3))
    assert torch.equal(under_the_mode(operation, [x])[0], operation(x))


@pytest.mark.xfail(strict=True, raises=TypeError, reason="options of add and mean end in a TypeError")
@pytest.mark.parametrize(
    "operation", [lambda x: torch.add(x, x, alpha=2), lambda x: x.mean(1, dtype=torch.float64)]
)
def test_options_of_operations_are_known_or_refused(operation: Callable) -> None:
    (x,) = draw((2, 3))
    try:
        output = under_the_mode(operation, [x])[0]
    except VitqError:
        return
    assert torch.equal(output, operation(x))


# When there is nothing to carry


def test_outside_the_mode_gradients_are_gradients() -> None:
    x, weight = draw((2, 3), (4, 3))
    with RelevanceMode():
        pass
    leaf = x.requires_grad_()
    (found,) = torch.autograd.grad(F.linear(leaf, weight).sum(), leaf)
    torch.testing.assert_close(found, weight.sum(0).expand(2, 3))


def test_what_carries_nothing_is_computed_as_ever() -> None:
    a, b = draw((2, 3), (3, 2))
    with RelevanceMode():
        product = a @ b
        with torch.no_grad():
            silent = a.clone().requires_grad_() @ b
        in_place = a.clone()
        in_place.add_(1).mul_(2)
    assert product.grad_fn is None and silent.grad_fn is None
    assert torch.equal(product, a @ b) and torch.equal(in_place, (a + 1) * 2)
