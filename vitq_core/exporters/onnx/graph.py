"""The file: which of its products are of integers, four-bit weights in four bits, what it says of itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from ..about import KEY

PRODUCTS = ("MatMul", "Gemm", "Conv", "ConvTranspose")
MOVES = ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Slice", "Gather", "Identity", "Expand")  # no values
DEQUANTIZE = "DequantizeLinear"
FOUR_BITS = (-8, 7)


def integer_products(model: ModelProto) -> list[str]:
    """The names of the products that are of two tensors of codes."""
    made = {output: node for node in model.graph.node for output in node.output}
    return [
        node.name for node in model.graph.node
        if node.op_type in PRODUCTS and all(_is_dequantized(name, made) for name in node.input[:2])
    ]  # fmt: skip


def _is_dequantized(name: str, made: dict[str, NodeProto]) -> bool:
    node = made.get(name)
    while node is not None and node.op_type in MOVES:
        node = made.get(node.input[0])
    return node is not None and node.op_type == DEQUANTIZE


def pack_four_bits(model: ModelProto) -> int:
    """Store weights whose codes all fit four bits in four, in place; returns how many.

    A cast makes bytes of them where the file is read: the kernels are those of bytes.
    """
    read = {name for node in model.graph.node if node.op_type == DEQUANTIZE for name in node.input[:1]}
    packed = 0
    for tensor in model.graph.initializer:
        if tensor.name in read and tensor.data_type == TensorProto.INT8:
            codes = numpy_helper.to_array(tensor)
            if codes.ndim > 1 and FOUR_BITS[0] <= codes.min() and codes.max() <= FOUR_BITS[1]:
                whole = tensor.name
                tensor.CopyFrom(_four_bits(codes, f"{whole}.packed"))
                cast = helper.make_node(
                    "Cast", [tensor.name], [whole], name=f"{whole}.bytes", to=TensorProto.INT8
                )
                model.graph.node.insert(0, cast)
                packed += 1
    return packed


def _four_bits(codes: np.ndarray, name: str) -> TensorProto:
    """Two to a byte, the first in the lower half, as ONNX has them."""
    flat = codes.flatten().astype(np.uint8) & 15
    flat = np.append(flat, 0) if len(flat) % 2 else flat
    data = (flat[::2] | flat[1::2] << 4).tobytes()
    return helper.make_tensor(name, TensorProto.INT4, codes.shape, data, raw=True)


def describe(model: ModelProto, about: dict[str, Any]) -> None:
    """Write ``about`` into the file's metadata, in place."""
    del model.metadata_props[:]
    helper.set_model_props(model, {KEY: json.dumps(about)})


def described(model: ModelProto) -> dict[str, Any]:
    """What :func:`describe` wrote; empty for a file of somebody else's."""
    return next((json.loads(entry.value) for entry in model.metadata_props if entry.key == KEY), {})


def without_notes(model: ModelProto) -> None:
    """Take out, in place, the exporting program's own notes: paths of its machine, and much text."""
    model.doc_string = ""
    model.producer_name, model.producer_version = "vitq", ""
    for node in _nodes(model):
        node.doc_string = ""
        del node.metadata_props[:]
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info, *model.graph.initializer):
        del value.metadata_props[:]
    del model.graph.metadata_props[:]


def _nodes(model: ModelProto) -> Iterator[NodeProto]:
    yield from model.graph.node
    for function in model.functions:
        yield from function.node
