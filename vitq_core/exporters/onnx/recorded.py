"""Layers as ONNX writes them: codes and scales between QuantizeLinear and DequantizeLinear.

The simulation rounds in floating point, which a file would hold as float arithmetic. These modules say the
same with ONNX's own operators, from which runtimes make integer kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor, nn

from ...common.errors import VitqError
from ...quantized.simulation import Simulation
from ..grids import Grid, axis_of, grid_of

OPSET = 21


def dequantized(codes: Tensor, scale: Tensor, zero_point: Tensor, axis: int | None) -> Tensor:
    attributes = {} if axis is None else {"axis": axis}
    return torch.onnx.ops.symbolic(
        "DequantizeLinear", (codes, scale, zero_point), attributes,
        dtype=torch.float32, shape=codes.shape, version=OPSET,
    )  # fmt: skip


class RecordedInput(nn.Module):
    """A tensor through its codes and back."""

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        self.bits = grid.bits
        self.shape = tuple(grid.scale.shape)
        self.register_buffer("scale", _flat(grid.scale).float())
        self.register_buffer("zero_point", _flat(grid.zero_point).to(torch.uint8))
        self.register_buffer("top", grid.top.float())

    def forward(self, x: Tensor) -> Tensor:
        axis = axis_of(torch.empty(self.shape, device="meta"), x.ndim)
        if self.bits < 8:  # a byte would hold greater codes too
            x = torch.minimum(x, self.top)
        attributes = {} if axis is None else {"axis": axis}
        codes = torch.onnx.ops.symbolic(
            "QuantizeLinear", (x, self.scale, self.zero_point), attributes,
            dtype=torch.uint8, shape=x.shape, version=OPSET,
        )  # fmt: skip
        return dequantized(codes, self.scale, self.zero_point, axis)


class RecordedWeight(nn.Module):
    """Codes [rows, …] and a scale for each row; ``transposed``: rows last, as MatMul reads them.

    ``apart``: the zero points z are no part of the product, which is then ``x·s·q − (Σx)·s·z``, the same
    number: some runtimes have kernels for codes around 0 alone.
    """

    def __init__(self, weight: Tensor, grid: Grid, transposed: bool, apart: bool) -> None:
        super().__init__()
        middle = 2 ** (grid.bits - 1)  # codes around 0 need no more bits than they have
        codes = (grid.codes(weight) - middle).to(torch.int8).flatten(1)
        rows = (len(codes),)
        self.axis = 1 if transposed else 0
        codes = codes.T if transposed else codes.reshape(weight.shape)
        self.register_buffer("codes", codes.contiguous())
        self.register_buffer("scale", grid.scale.float().flatten().expand(rows).contiguous())
        zero_point = (grid.zero_point - middle).to(torch.int8).flatten()
        zero_point = zero_point.expand(rows).contiguous()
        self.apart = apart and bool(zero_point.any())
        self.register_buffer("zero_point", torch.zeros_like(zero_point) if self.apart else zero_point)
        self.register_buffer("left_out", self.scale * zero_point)

    def forward(self) -> Tensor:
        return dequantized(self.codes, self.scale, self.zero_point, self.axis)

    def product(self, x: Tensor) -> Tensor:
        """``x @ weight``, of a transposed one."""
        product = x @ self()
        return product - x.sum(-1, keepdim=True) * self.left_out if self.apart else product


class RecordedLinear(nn.Module):
    """As ``nn.Linear``; of two axes it makes three, for which runtimes have integer kernels."""

    def __init__(self, layer: nn.Linear, inputs: RecordedInput, weight: RecordedWeight) -> None:
        super().__init__()
        self.inputs, self.quantized = inputs, weight
        self.bias = layer.bias

    def forward(self, x: Tensor) -> Tensor:
        flat = x.ndim == 2
        product = self.quantized.product(self.inputs(x.unsqueeze(1) if flat else x))
        product = product if self.bias is None else product + self.bias
        return product.squeeze(1) if flat else product


class RecordedPatches(nn.Module):
    """A convolution whose patches do not overlap, as the matrix product that it is."""

    def __init__(self, layer: nn.Conv2d, inputs: RecordedInput, weight: RecordedWeight) -> None:
        super().__init__()
        self.inputs, self.quantized = inputs, weight
        self.bias, self.sides = layer.bias, layer.kernel_size

    def forward(self, x: Tensor) -> Tensor:
        x = x.unflatten(3, (-1, self.sides[1])).unflatten(2, (-1, self.sides[0]))  # [N, C, h, p, w, p]
        rows, columns = x.shape[2], x.shape[4]
        patches = x.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
        product = self.quantized.product(self.inputs(patches))
        product = product if self.bias is None else product + self.bias
        return product.transpose(1, 2).unflatten(2, (rows, columns))


class RecordedConvolution(nn.Module):
    """Any other, as ``nn.Conv2d``."""

    def __init__(self, layer: nn.Conv2d, inputs: RecordedInput, weight: RecordedWeight) -> None:
        super().__init__()
        self.inputs, self.quantized = inputs, weight
        self.bias = layer.bias
        self.settings = (layer.stride, layer.padding, layer.dilation, layer.groups)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.conv2d(self.inputs(x), self.quantized(), self.bias, *self.settings)


class RecordedTransposed(nn.Module):
    """A transposed convolution, which no runtime has an integer kernel for: the file holds codes all the
    same."""

    def __init__(self, layer: nn.ConvTranspose2d, inputs: RecordedInput, weight: RecordedWeight) -> None:
        super().__init__()
        self.inputs, self.quantized = inputs, weight
        self.bias = layer.bias
        self.settings = (layer.stride, layer.padding, layer.output_padding, layer.groups, layer.dilation)

    def forward(self, x: Tensor) -> Tensor:
        x, weight = self.inputs(x), self.quantized()
        return nn.functional.conv_transpose2d(x, weight, self.bias, *self.settings)


class RecordedCall(nn.Module):
    """A layer without weights, such as a product of two activations, whose first inputs are quantized."""

    def __init__(self, layer: nn.Module, inputs: list[RecordedInput]) -> None:
        super().__init__()
        self.layer, self.inputs = _without_hooks(layer), nn.ModuleList(inputs)

    def forward(self, *given: Tensor | None) -> Tensor:
        coded = [inputs(x) for inputs, x in zip(self.inputs, given, strict=False)]
        return self.layer(*coded, *given[len(coded) :])


def recorded(simulation: Simulation, apart: bool = False) -> tuple[nn.Module, list[Grid]]:
    """A copy of the model whose layers record integers, and the grids of its sites. ``apart``: with the zero
    points of weights outside their products.

    Raises VitqError for a layer of a kind that is not known here.
    """
    module = deepcopy(simulation.module)
    if hasattr(module, "vitq"):
        del module.vitq
    grids: list[Grid] = []
    for name in simulation.layers:
        layer, own = _recorded(simulation, name, apart)
        grids += own
        owner, _, leaf = name.rpartition(".")
        setattr(module.get_submodule(owner), leaf, layer)
    return module, grids


def _recorded(simulation: Simulation, name: str, apart: bool) -> tuple[nn.Module, list[Grid]]:
    layer, described = simulation.layer(name), simulation.layers[name]
    grids = [grid_of(simulation.quantizer(site)) for site in described.inputs]
    inputs = [RecordedInput(grid) for grid in grids]
    if described.weight is None:
        return RecordedCall(layer, inputs), grids
    make = _kind(layer, name)
    weight = simulation.float_weight(name).detach()
    grids.append(grid_of(simulation.quantizer(described.weight)))
    whole = make in (RecordedConvolution, RecordedTransposed)
    return make(layer, *inputs, RecordedWeight(weight, grids[-1], not whole, apart and not whole)), grids


def _kind(layer: nn.Module, name: str) -> Callable[..., nn.Module]:
    if isinstance(layer, nn.Linear):
        return RecordedLinear
    if isinstance(layer, nn.Conv2d):
        apart = layer.kernel_size == layer.stride and layer.groups == 1 and _unpadded(layer)
        return RecordedPatches if apart else RecordedConvolution
    if isinstance(layer, nn.ConvTranspose2d):
        return RecordedTransposed
    raise VitqError(f"{name} is a {type(layer).__name__}, which no export knows how to write")


def _unpadded(layer: nn.Conv2d) -> bool:
    return layer.padding in ("valid", (0, 0), 0) and layer.dilation == (1, 1)


def _without_hooks(layer: nn.Module) -> nn.Module:
    """A copy that computes what the family wrote, of which the simulation's own quantizers are no part."""
    bare = deepcopy(layer)
    bare._forward_pre_hooks.clear()
    del bare.input_quantizers
    return bare


def _flat(values: Tensor) -> Tensor:
    """A scalar, or one number for each index of the axis."""
    return values.reshape(()) if values.numel() == 1 else values.flatten()
