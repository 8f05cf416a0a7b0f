"""Under the mode every operation's backward is its rule; what only moves values moves relevance."""

import operator
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitq_core import VitqError
from vitq_core.graph.ops import add_bias
from vitq_core.lrp import rules
from vitq_core.lrp.mode import BIASES, COSTLY, IDENTITIES, MOVES, RULES, Recording, RelevanceMode, Result


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
    "torch.mm": (torch.mm, matmul, [(3, 4), (4, 2)]),
    "torch.bmm": (torch.bmm, matmul, [(2, 3, 4), (2, 4, 3)]),
    "Tensor.matmul": (lambda a, b: a.matmul(b), matmul, [(2, 3, 4), (2, 4, 3)]),
    "+": (operator.add, rules.Add.apply, [(2, 3, 4), (1, 3, 4)]),
    "+=": (operator.iadd, rules.Add.apply, [(2, 3, 4), (1, 3, 4)]),
    "torch.add": (torch.add, rules.Add.apply, [(2, 3, 4), (2, 3, 4)]),
    "*": (operator.mul, rules.Product.apply, [(2, 3, 4), (2, 3, 4)]),
    "*=": (operator.imul, rules.Product.apply, [(2, 3, 4), (2, 3, 1)]),
    "torch.mul": (torch.mul, rules.Product.apply, [(2, 3, 4), (2, 1, 4)]),
    "torch.multiply": (torch.multiply, rules.Product.apply, [(2, 3, 4), (2, 1, 4)]),
    "mean": (lambda x: x.mean(1), lambda x: rules.Mean.apply(x, 1, False), [(2, 3, 4)]),
    "mean, dim by name": (
        lambda x: torch.mean(x, dim=(1, 2), keepdim=True),
        lambda x: rules.Mean.apply(x, (1, 2), True),
        [(2, 3, 4)],
    ),
    "mean of all": (lambda x: x.mean(), lambda x: rules.Mean.apply(x, (0, 1, 2), False), [(2, 3, 4)]),
    "sum": (lambda x: x.sum(1), lambda x: rules.Mean.apply(x, 1, False), [(2, 3, 4)]),
    "sum, dim by name": (
        lambda x: torch.sum(x, dim=(0, 2), keepdim=True),
        lambda x: rules.Mean.apply(x, (0, 2), True),
        [(2, 3, 4)],
    ),
    "sum of all": (lambda x: x.sum(), lambda x: rules.Mean.apply(x, (0, 1, 2), False), [(2, 3, 4)]),
    "sum of Python's": (lambda a, b: sum([a, b]), rules.Add.apply, [(2, 3), (2, 3)]),
    "add, a part of the other": (
        lambda a, b: torch.add(a, b, alpha=-2),
        lambda a, b: rules.Add.apply(a, rules.Identity.apply(b, b.detach() * -2)),
        [(2, 3), (2, 3)],
    ),
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


@pytest.mark.parametrize(("padding", "same"), [("same", 1), ("valid", 0)])
def test_padding_by_name(padding: str, same: int) -> None:
    (weight,) = draw((4, 3, 3, 3), seed=5)
    agree(
        lambda x: F.conv2d(x, weight, BIAS, padding=padding),
        lambda x: rules.Pixels.apply(x, weight, BIAS, 1, same, 1, 1),
        draw((2, 3, 5, 6)),
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
    "rsub": lambda x: 1 - x,
    "neg": operator.neg,
    "negative": torch.negative,
    "divide": lambda x: torch.divide(x, 2),
    "true_divide": lambda x: torch.true_divide(x, GAIN),
}
MASK = torch.tensor([True, False, False, True])


@pytest.mark.parametrize("name", PASSED)
def test_identities_pass_relevance_as_it_is(name: str) -> None:
    x = draw((2, 4))
    output, relevance, (found,) = under_the_mode(PASSED[name], x)
    assert torch.equal(found, relevance) and torch.equal(output, PASSED[name](x[0]))


def test_every_identity_is_tried() -> None:
    assert set(PASSED) == IDENTITIES and not IDENTITIES & set(RULES)
    assert not MOVES & (IDENTITIES | set(RULES)) and IDENTITIES | set(RULES) > COSTLY


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


(LIKE,) = draw((2, 12), seed=4)
INDEX = torch.tensor([[[0], [2], [2]], [[1], [0], [3]]])
MOVED = {
    "reshape": lambda x: x.reshape(2, 12),
    "view": lambda x: x.view(4, 6),
    "flatten": lambda x: x.flatten(1),
    "unflatten": lambda x: x.unflatten(2, (2, 2)),
    "transpose": lambda x: x.transpose(1, 2),
    "permute": lambda x: x.permute(2, 0, 1),
    "movedim": lambda x: x.movedim(0, 2),
    "swapaxes": lambda x: x.swapaxes(0, 1),
    "swapdims": lambda x: x.swapdims(0, 1),
    "view_as": lambda x: x.view_as(LIKE),
    "reshape_as": lambda x: x.reshape_as(LIKE),
    "expand": lambda x: x[:, :1].expand(-1, 5, -1),
    "expand_as": lambda x: x[:, :1].expand_as(x),
    "repeat": lambda x: x.repeat(2, 1, 1),
    "tile": lambda x: x.tile(2),
    "repeat_interleave": lambda x: x.repeat_interleave(2, 1),
    "get": lambda x: x.mT,
    "cat": lambda x: torch.cat([x, torch.ones_like(x)], 1),
    "concat": lambda x: torch.concat([x, x], 1),
    "concatenate": lambda x: torch.concatenate([x, x], 1),
    "stack": lambda x: torch.stack([x, x], 1),
    "hstack": lambda x: torch.hstack([x, x]),
    "vstack": lambda x: torch.vstack([x, x]),
    "unbind": lambda x: x.unbind(1)[2],
    "chunk": lambda x: x.chunk(2, -1)[1],
    "split": lambda x: x.split([1, 3], -1)[1],
    "tensor_split": lambda x: x.tensor_split(3, -1)[0],
    "narrow": lambda x: x.narrow(1, 1, 2),
    "select": lambda x: x.select(1, 0),
    "getitem": lambda x: x[:, 1:, ::2],
    "index_select": lambda x: x.index_select(1, torch.tensor([2, 0, 2])),
    "gather": lambda x: x.gather(2, INDEX),
    "take_along_dim": lambda x: x.take_along_dim(INDEX, 2),
    "unfold": lambda x: x.unfold(2, 2, 1),
    "roll": lambda x: x.roll((1, 2), (1, 2)),
    "flip": lambda x: x.flip(1),
    "pad": lambda x: F.pad(x, (1, 2), value=3.0),
    "squeeze": lambda x: x[:, :1].squeeze(1),
    "unsqueeze": lambda x: x.unsqueeze(1),
    "contiguous": lambda x: x.transpose(1, 2).contiguous(),
    "clone": lambda x: x.clone(),
    "to": lambda x: x.to(torch.float64, copy=True),
    "float": lambda x: x.float().double(),
    "double": lambda x: x.double(),
    "half": lambda x: x.half().double(),
    "type": lambda x: x.type(torch.float64),
    "t": lambda x: x[0].t(),
    "amax": lambda x: x.amax(1),
    "amin": lambda x: x.amin((0, 2)),
    "max_pool2d": lambda x: F.max_pool2d(x, 2),
    "requires_grad": lambda x: x.requires_grad_(),
    "pixel_shuffle": lambda x: F.pixel_shuffle(x.transpose(1, 2)[..., None], 2),
}


@pytest.mark.parametrize("name", MOVED)
def test_moves_move_relevance_as_gradients(name: str) -> None:
    (x,) = draw((2, 3, 4))
    _, relevance, (found,) = under_the_mode(MOVED[name], [x])
    leaf = x.requires_grad_()
    assert torch.equal(found, torch.autograd.grad(MOVED[name](leaf), leaf, relevance)[0])


def test_every_move_is_tried() -> None:
    assert set(MOVED) == MOVES


def test_what_folds_over_itself_keeps_the_sum_or_is_refused() -> None:
    (x,) = draw((1, 4, 4))
    try:
        _, relevance, (found,) = under_the_mode(lambda x: F.fold(x, (3, 3), 2), [x])
    except VitqError:
        return
    torch.testing.assert_close(found.sum(), relevance.sum())


# Operations without a rule must not fall back to their gradient in silence.


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
        lambda x: torch.einsum("bn,mn->bm", [x, WEIGHT]),
        lambda x: torch.linalg.multi_dot([x, WEIGHT.T]),
    ],
    ids=["1 - x", "-x", "square", "sum", "einsum", "mm", "multiply", "divide", "einsum list", "multi_dot"],
)
def test_unknown_operations_are_refused_or_right(operation: Callable) -> None:
    (x,) = draw((2, 3))
    gradient = by_rule(operation, [x], draw(tuple(operation(x).shape), seed=9)[0])
    try:
        found = under_the_mode(operation, [x])[2]
    except VitqError:
        return
    assert not torch.allclose(found[0], gradient[0])


WITHOUT_RULE = {
    "exp": torch.exp,
    "abs": abs,
    "pow": lambda x: x**2,
    "rdiv": lambda x: 2 / x,
    "cumsum": lambda x: x.cumsum(1),
    "prod": lambda x: x.prod(1),
    "max": lambda x: x.max(1),
    "topk": lambda x: x.topk(2),
    "addmm": lambda x: torch.addmm(BIAS, x, WEIGHT.T),
    "einsum": lambda x: torch.einsum("bn,mn->bm", x, WEIGHT),
    "where": lambda x: torch.where(x > 0, x, 0.0),
    "copy": lambda x: torch.zeros_like(x).copy_(x),
    "avg_pool1d": lambda x: F.avg_pool1d(x, 2),
    "interpolate": lambda x: F.interpolate(x[None], 2),
    "glu": lambda x: F.glu(x[:, :2]),
}


@pytest.mark.parametrize("name", WITHOUT_RULE)
def test_operations_without_a_rule_are_refused(name: str) -> None:
    with pytest.raises(VitqError, match=rf"no rule for the operation _*{name}_*, which this model uses"):
        under_the_mode(WITHOUT_RULE[name], draw((2, 3)))


def test_questions_are_answered() -> None:
    with RelevanceMode():
        x = torch.tensor([[-1.0, 2.0]], requires_grad=True) * 1
        assert x.shape == (1, 2) and x.size(1) == 2 and x.dim() == 2 and x.numel() == 2 and len(x) == 1
        assert x.argmax(1).tolist() == [1] and (x > 0).any() and not x.isnan().any()
        assert x.detach().tolist() == [[-1.0, 2.0]] and torch.zeros_like(x).tolist() == [[0.0, 0.0]]
        assert x.new_ones(1).item() == 1 and x.is_floating_point() and x.dtype == torch.float32


@pytest.mark.parametrize("operation", [lambda x: x @ WEIGHT[0], lambda x: WEIGHT @ x[0]])
def test_products_with_a_vector_are_right_or_refused(operation: Callable) -> None:
    (x,) = draw((2, 3))
    try:
        output, relevance, (found,) = under_the_mode(operation, [x])
    except VitqError:
        return
    assert torch.equal(output, operation(x))
    torch.testing.assert_close(found.sum(), 0.5 * relevance.sum())


def test_weights_that_carry_are_ruled_or_refused() -> None:
    try:
        found = under_the_mode(lambda x, w: F.linear(x, w), draw((2, 3), (4, 3)))[2]
    except VitqError:
        return
    except RuntimeError as error:  # of autograd: the weight is not in the graph
        pytest.fail(str(error))
    assert found[1].abs().sum() > 0


@pytest.mark.parametrize("name", ["add_", "mul_"])
def test_in_place_statements_are_lost_and_show_in_the_output(name: str) -> None:
    """``propagate`` compares its logits to find them."""

    def operation(x: Tensor) -> Tensor:
        y = x * 1
        getattr(y, name)(3)
        return y

    (x,) = draw((2, 3))
    assert torch.equal(under_the_mode(operation, [x])[0], x) and not torch.equal(operation(x), x)


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


@pytest.mark.parametrize(
    "operation",
    [
        lambda x: x.mean(1, dtype=torch.float64),
        lambda x: x.mean(axis=1),
        lambda x: x.sum(1, dtype=torch.float64),
        lambda x: torch.mul(x, 2, out=torch.empty(2, 3).double()),
        lambda x: F.scaled_dot_product_attention(x, x, x, enable_gqa=True),
    ],
)
def test_options_without_a_rule_are_refused(operation: Callable) -> None:
    with pytest.raises(VitqError, match=r"relevance has no rule for \w+ called like this: .*argument"):
        under_the_mode(operation, draw((2, 3)))


# Products of a forward pass before


def recorded(operation: Callable, x: Tensor) -> tuple[Tensor, list[Result]]:
    with Recording() as recording:
        output = operation(x.clone().requires_grad_())
    return output.detach(), recording.results


def products(x: Tensor) -> Tensor:
    y = F.linear(x, WEIGHT, BIAS)  # [2, 4]
    z = torch.mm(y, WEIGHT) @ WEIGHT.T
    return torch.bmm(z[None], z[None].mT)


def test_products_are_recorded_in_order_without_their_history() -> None:
    (x,) = draw((2, 3))
    output, found = recorded(products, x)
    y = F.linear(x, WEIGHT, BIAS)
    expected = [y, y @ WEIGHT, y @ WEIGHT @ WEIGHT.T, output]
    assert len(found) == 4
    for product, value in zip(found, expected, strict=True):
        assert torch.equal(product.value, value) and not product.value.requires_grad
        assert product.version == product.value._version


def test_what_carries_nothing_is_not_recorded() -> None:
    a, b = draw((2, 3), (3, 2))
    with Recording() as recording:
        a @ b
        with torch.no_grad():
            a.clone().requires_grad_() @ b
    assert recording.results == []


def test_known_products_are_taken_over() -> None:
    """Told by products that were never computed: those that the mode gives back."""
    (x,) = draw((2, 3))
    _, found = recorded(products, x)
    told = [torch.full_like(product.value, float(i)) for i, product in enumerate(found)]
    told = [product._replace(value=zeros, version=0) for product, zeros in zip(found, told, strict=True)]
    with RelevanceMode(told):
        y = F.linear(x.requires_grad_(), WEIGHT)
        z = torch.mm(found[0].value.clone().requires_grad_(), WEIGHT)
        other = torch.bmm(y[None], y[None].mT)
    assert y.unique().tolist() == [0.0] and z.unique().tolist() == [1.0]
    assert torch.equal(other, torch.zeros(1, 2, 2)), "of another operand: worked out, from zeros"


@pytest.mark.parametrize(
    "operation", [F.gelu, lambda x: x.softmax(-1), lambda x: F.layer_norm(x, x.shape[-1:])]
)
def test_known_results_of_identities_are_taken_over(operation: Callable) -> None:
    (x,) = draw((2, 3))
    _, (result,) = recorded(operation, x)
    told = Result(torch.full_like(result.value, 7.0), 0, result.operand)
    leaf = x.clone().requires_grad_()
    with RelevanceMode([told]):
        found = operation(leaf)
    assert found.unique().tolist() == [7.0]
    assert torch.equal(torch.autograd.grad(found, leaf, x)[0], x)


def test_an_overwritten_product_is_worked_out_again_and_the_next_is_taken_over() -> None:
    (x,) = draw((2, 3))
    _, found = recorded(products, x)
    operands = [x, *(product.value.clone() for product in found[:2]), found[2].value.clone()[None]]
    found[0].value.add_(1)
    mode = RelevanceMode(found)
    assert mode.known(operands[0]) is None and mode.known(operands[1]) is found[1].value
    found[2].value[0].zero_()  # through a view
    assert mode.known(operands[2]) is None and mode.known(operands[3]) is found[3].value
    assert mode.known(x) is None, "there are no more"


def test_a_product_of_another_operand_is_not_taken_over() -> None:
    (x,) = draw((2, 3))
    _, found = recorded(products, x)
    assert RelevanceMode(found).known(-2 * x) is None
    assert RelevanceMode(found).known(x[:1]) is None
    assert RelevanceMode(found).known(x) is found[0].value


@pytest.mark.parametrize("in_place", [lambda y: y.mul_(-3), lambda y: F.silu(y, inplace=True)])
def test_in_place_operations_on_a_recorded_product_change_no_relevance(in_place: Callable) -> None:
    def operation(x: Tensor) -> Tensor:
        return torch.mm(in_place(F.linear(x, WEIGHT, BIAS)), WEIGHT)

    (x,) = draw((2, 3))
    expected, relevance, (apart,) = under_the_mode(operation, [x])
    output, found = recorded(operation, x)
    leaf = x.clone().requires_grad_()
    with RelevanceMode(found):
        again = operation(leaf)
    assert torch.equal(again, expected) and torch.equal(again, output)
    assert torch.equal(torch.autograd.grad(again, leaf, relevance)[0], apart)


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


# What is added to an attention's scores

(ADDED,) = draw((3, 1, 4), seed=5)


def test_a_bias_of_scores_is_passed_by_or_has_its_share() -> None:
    (scores, relevance) = draw((2, 3, 5, 4), (2, 3, 5, 4))
    for biases in BIASES:
        leaf = scores.clone().requires_grad_()
        with RelevanceMode(biases=biases):
            output = add_bias(leaf, ADDED)
        torch.testing.assert_close(output.detach(), scores + ADDED)
        (found,) = torch.autograd.grad(output, leaf, relevance)
        if biases == "identity":
            assert torch.equal(found, relevance)
        else:
            (expected,) = by_rule(lambda x: rules.Add.apply(x, ADDED), [scores], relevance)
            torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
            assert not torch.allclose(found, relevance)


def test_an_unknown_rule_of_biases_is_named() -> None:
    with pytest.raises(ValueError, match="unknown rule of biases 'sum'; available: identity, add"):
        RelevanceMode(biases="sum")
