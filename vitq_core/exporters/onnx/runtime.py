"""ONNX Runtime on this machine: answers, and which products it computes with integers."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor

# What ONNX Runtime's processor kernels for products of codes are called, most of them its own inventions.
KERNELS = frozenset(
    (
        *("MatMulIntegerToFloat", "QLinearMatMul", "MatMulInteger", "DynamicQuantizeMatMul", "QGemm"),
        *("QLinearConv", "ConvInteger", "QAttention", "MatMulNBits"),
    )
)
QUIET = 3  # errors alone


def session(path: Path, threads: int = 0, optimized: Path | None = None) -> onnxruntime.InferenceSession:
    """``threads``: 0 for as many as the machine has. ``optimized``: where to write what is really run."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, QUIET
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def answered(run: onnxruntime.InferenceSession, *inputs: Tensor) -> tuple[Tensor, ...]:
    """All outputs for the inputs in the file's order."""
    arrays = (np.ascontiguousarray(each.detach().cpu().float().numpy()) for each in inputs)
    given = {described.name: array for described, array in zip(run.get_inputs(), arrays, strict=True)}
    return tuple(torch.from_numpy(output) for output in run.run(None, given))


def integer_kernels(path: Path) -> int:
    """How many products of the file run with integers here, after the runtime has fused what it can."""
    with tempfile.TemporaryDirectory() as folder:
        fused = Path(folder) / "fused.onnx"
        session(path, optimized=fused)
        nodes = onnx.load(fused, load_external_data=False).graph.node
        return sum(node.op_type in KERNELS for node in nodes)
