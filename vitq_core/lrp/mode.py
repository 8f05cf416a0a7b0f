"""While this mode is on, torch's operations build a graph whose backward propagates relevance.

Intercepting operations, not modules, catches the additions and products that a model's forward writes out
(position embedding, LayerScale, gates, pooling). What only moves values needs no rule: its gradient is one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..common.checks import check_name
from ..common.errors import VitqError
from . import rules

# Operations through which relevance passes as it is.
IDENTITIES = frozenset(
    (
        *("layer_norm", "rms_norm", "group_norm", "batch_norm", "normalize", "softmax", "log_softmax"),
        *("dropout", "gelu", "relu", "relu6", "silu", "mish", "sigmoid", "tanh", "softplus", "hardtanh"),
        *("hardswish", "hardsigmoid", "leaky_relu", "elu", "selu", "celu", "clamp", "masked_fill"),
        *("sub", "rsub", "neg", "negative", "div", "divide", "truediv", "true_divide"),
    )
)


# Operations that only move values, or pick some: relevance moves with them.
MOVES = frozenset(
    (
        *(
            "reshape",
            "view",
            "flatten",
            "unflatten",
            "transpose",
            "permute",
            "movedim",
            "swapaxes",
            "swapdims",
        ),
        *("view_as", "reshape_as", "expand", "expand_as", "repeat", "tile", "repeat_interleave", "get"),
        *("cat", "concat", "concatenate", "stack", "unbind", "chunk", "split", "tensor_split", "narrow"),
        *("select", "getitem", "index_select", "gather", "take_along_dim", "unfold", "roll", "flip", "pad"),
        *("squeeze", "unsqueeze", "contiguous", "clone", "to", "float", "double", "half", "type", "t"),
        *("amax", "amin", "max_pool2d", "requires_grad", "pixel_shuffle", "hstack", "vstack"),
    )
)

# The costly ones, whose results the relevance pass can take over from the forward pass before it.
COSTLY = frozenset(("linear", "matmul", "bmm", "mm", "softmax", "gelu", "layer_norm"))


# Relevance passes by what is added to an attention's scores, or that has its share.
BIASES = ("identity", "add")


class Result(NamedTuple):
    """A tensor with its version, which an in-place operation moves on, and some values of the operand."""

    value: Tensor
    version: int
    operand: Tensor


class Recording(TorchFunctionMode):
    """Keeps the results of a forward pass's costly operations, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.results: list[Result] = []

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None):
        result = func(*args, **(kwargs or {}))
        if _name(func) in COSTLY and _propagates(args, kwargs or {}):
            self.results.append(
                Result(result.detach(), result._version, _glimpse((*args, *(kwargs or {}).values())))
            )
        return result


class RelevanceMode(TorchFunctionMode):
    """Rules in place of gradients for every operation on a tensor that carries relevance.

    A tensor carries it if it requires grad: set that on the pictures, and on no parameter. ``results``: of
    the same forward pass under :class:`Recording`, so that none is worked out twice. ``biases``: the rule of
    ``add_bias``, one of :data:`BIASES`.
    """

    def __init__(self, results: list[Result] | None = None, biases: str = "identity") -> None:
        super().__init__()
        self.biases = check_name("rule of biases", biases, BIASES)
        self.embedded = False  # the first convolution reads the picture, whose pixels have bounds
        self._results = iter(results or ())

    def known(self, operand: Tensor) -> Tensor | None:
        """The next result of the forward pass before, unless it was overwritten or is of something else."""
        result = next(self._results, None)
        if result is None or result.value._version != result.version:
            return None
        glimpse = _glimpse((operand,))
        same = glimpse.shape == result.operand.shape and torch.allclose(glimpse, result.operand, rtol=1e-3)
        return result.value if same else None

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None):
        kwargs = kwargs or {}
        if _propagates(args, kwargs):
            name = _name(func)
            if name in IDENTITIES:
                return _identity(self, func, args, kwargs)
            if name in RULES:
                return _ruled(self, name, args, kwargs)
            if name not in MOVES:
                return _unruled(func, args, kwargs)
        return func(*args, **kwargs)


def _ruled(mode: RelevanceMode, name: str, args: tuple, kwargs: dict) -> Tensor:
    try:
        return RULES[name](mode, *args, **kwargs)
    except TypeError as error:
        raise VitqError(f"relevance has no rule for {name} called like this: {error}") from error


def _unruled(func: Callable, args: tuple, kwargs: dict) -> Any:
    """Shapes, comparisons and the like pass; VitqError where the result itself carries relevance."""
    answer = func(*args, **kwargs)
    if any(map(_carries, answer if isinstance(answer, (tuple, list)) else (answer,))):
        raise VitqError(f"relevance has no rule for the operation {func.__name__}, which this model uses")
    return answer


def _name(func: Callable) -> str:
    """torch's name, the same for in-place and operator variants."""
    return func.__name__.strip("_")


def _glimpse(operands: Iterable) -> Tensor:
    """About sixty values of the first operand, enough to tell another tensor from it, at almost no cost."""
    values = next(iter(operands)).detach().flatten()
    return values[:: max(1, len(values) // 61)].clone()


def _propagates(args: tuple, kwargs: dict) -> bool:
    operands = (*args, *kwargs.values())
    lists = (part for arg in operands if isinstance(arg, (list, tuple)) for part in arg)
    return torch.is_grad_enabled() and (any(map(_carries, operands)) or any(map(_carries, lists)))


def _carries(x: object) -> bool:
    return isinstance(x, Tensor) and x.requires_grad


def _identity(mode: RelevanceMode, func: Callable, args: tuple, kwargs: dict) -> Tensor:
    """``func`` without a graph of its own, not in place; its one operand that carries gets the relevance."""
    x, *others = filter(_carries, (*args, *kwargs.values()))
    y = mode.known(x) if _name(func) in COSTLY else None
    if y is None:
        in_place = func.__name__.endswith("_") or kwargs.get("inplace")
        with torch.no_grad():
            y = func(*(arg.clone() if arg is x and in_place else arg for arg in args), **kwargs)
    if others or y.shape != x.shape:
        raise VitqError(f"relevance has no rule for {func.__name__} of several activations")
    return rules.Identity.apply(x, y)


def _linear(mode: RelevanceMode, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    if _carries(weight):
        raise VitqError("relevance has no rule for a linear layer whose weight is an activation")
    return rules.Linear.apply(input, weight, bias, mode.known(input))


# Arguments after the bias, with their defaults, in torch's order.
CONVOLUTION = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
TRANSPOSED = {"stride": 1, "padding": 0, "output_padding": 0, "groups": 1, "dilation": 1}


def _geometry(defaults: dict[str, Any], more: tuple, named: dict[str, Any]) -> list[Any]:
    return [*{**defaults, **dict(zip(defaults, more, strict=False)), **named}.values()]


def _conv_transpose2d(
    mode: RelevanceMode, input: Tensor, weight: Tensor, bias: Tensor | None = None, *more: Any, **named: Any
) -> Tensor:
    return rules.TransposedConvolution.apply(input, weight, bias, *_geometry(TRANSPOSED, more, named))


def _conv2d(
    mode: RelevanceMode, input: Tensor, weight: Tensor, bias: Tensor | None = None, *more: Any, **named: Any
) -> Tensor:
    geometry = _geometry(CONVOLUTION, more, named)
    if isinstance(geometry[1], str):
        geometry[1] = _padding(geometry[1], weight.shape[2:], geometry[2])
    rule = rules.Convolution if mode.embedded else rules.Pixels
    mode.embedded = True
    return rule.apply(input, weight, bias, *geometry)


def _padding(name: str, kernel: tuple[int, ...], dilation: Any) -> tuple[int, ...]:
    """``"valid"`` and ``"same"`` as numbers."""
    dilation = dilation if isinstance(dilation, (tuple, list)) else (dilation,) * len(kernel)
    total = [0 if name == "valid" else d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    if any(pixels % 2 for pixels in total):
        raise VitqError("relevance has no rule for a convolution padded more on one side")
    return tuple(pixels // 2 for pixels in total)


def _matmul(mode: RelevanceMode, a: Tensor, b: Tensor) -> Tensor:
    if min(a.ndim, b.ndim) < 2:
        raise VitqError("relevance has no rule for a matrix product with a vector")
    return rules.MatMul.apply(a, b, mode.known(a))


def _add(mode: RelevanceMode, a: Any, b: Any, alpha: float = 1) -> Tensor:
    if alpha != 1:
        b = _mul(mode, b, alpha) if _carries(b) else b * alpha
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return rules.Add.apply(a, b)
    return _shifted(a, b) if isinstance(a, Tensor) else _shifted(b, a)


def _add_bias(mode: RelevanceMode, x: Tensor, bias: Tensor) -> Tensor:
    """Of attention's scores (relative positions, shift mask): as of a linear layer's it is passed over, so
    that nothing is lost; by the rule of sums it keeps its share."""
    return rules.Add.apply(x, bias) if mode.biases == "add" else _shifted(x, bias)


def _add_layer_bias(mode: RelevanceMode, x: Tensor, bias: Tensor) -> Tensor:
    return _shifted(x, bias)


def _shifted(x: Tensor, number: Any) -> Tensor:
    return rules.Identity.apply(x, x.detach() + number)


def _mul(mode: RelevanceMode, a: Any, b: Any) -> Tensor:
    if _carries(a) and _carries(b):
        return rules.Product.apply(a, b)
    x, factor = (a, b) if _carries(a) else (b, a)
    with torch.no_grad():
        y = x * factor
    if y.shape != x.shape:
        x = x.expand(y.shape)
    return rules.Identity.apply(x, y)


def _mean(mode: RelevanceMode, input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    return rules.Mean.apply(input, tuple(range(input.ndim)) if dim is None else dim, keepdim)


def _sum(mode: RelevanceMode, input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """The rule of the mean: a sum is a mean times a number."""
    mean = _mean(mode, input, dim, keepdim)
    return rules.Identity.apply(mean, mean.detach() * (input.numel() // mean.numel()))


def _attention(
    mode: RelevanceMode,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """Fused attention, taken apart."""
    if attn_mask is not None or is_causal:
        raise VitqError("relevance has no rule for masked fused attention")
    scores = rules.MatMul.apply(query, key.transpose(-2, -1), None)
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    attention = rules.Identity.apply(scores, (scores.detach() * scale).softmax(-1))
    return rules.MatMul.apply(attention, value, None)


# Operation → rule; the names are torch's, without the underscores of in-place and operator variants.
RULES: dict[str, Callable] = {
    "linear": _linear,
    "conv2d": _conv2d,
    "conv_transpose2d": _conv_transpose2d,
    "matmul": _matmul,
    "bmm": _matmul,
    "mm": _matmul,
    "add": _add,
    "iadd": _add,
    "radd": _add,
    "add_bias": _add_bias,
    "add_layer_bias": _add_layer_bias,
    "mul": _mul,
    "imul": _mul,
    "rmul": _mul,
    "multiply": _mul,
    "mean": _mean,
    "sum": _sum,
    "scaled_dot_product_attention": _attention,
}
