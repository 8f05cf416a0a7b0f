"""``model.xml`` and ``model.bin``: the same integers for OpenVINO."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from .about import KEY
from .base import EXPORTERS, Call
from .onnx.integer import IntegerFormat

if TYPE_CHECKING:
    from onnx import ModelProto

PRODUCTS = ("FullyConnected", "MatMul", "Convolution")  # as OpenVINO calls what it runs
BYTES = ("i8", "u8")


class OpenVino(IntegerFormat):
    name = "openvino"
    title = "OpenVINO"
    aim = "Fast here"
    summary = "Runs with integers in OpenVINO, which is made for Intel's processors."
    needs = {"openvino": "openvino", "onnx": "onnx", "onnxscript": "onnxscript"}
    suffixes = (".xml", ".bin")
    opening = 'openvino.Core().compile_model({path}, "CPU")'
    calling = "output = model(pictures)[0]  # float32 [N, C, H, W], prepared as the model expects"
    containers, apart = (8,), True
    library = "openvino"

    def save(self, model: ModelProto, path: Path, said: dict[str, Any]) -> None:
        import onnx
        import openvino

        with tempfile.TemporaryDirectory() as temporary:
            given = Path(temporary) / "model.onnx"
            onnx.save(model, given)
            converted = openvino.convert_model(given)
            converted.set_rt_info(json.dumps(said), KEY)
            openvino.save_model(converted, path, compress_to_fp16=False)

    def runner(self, path: Path, threads: int = 0) -> Call:
        compiled = _compiled(path, threads)

        def run(*inputs: Tensor) -> tuple[Tensor, ...]:
            given = [np.ascontiguousarray(each.detach().cpu().float().numpy()) for each in inputs]
            return tuple(torch.from_numpy(output.copy()) for output in compiled(given).to_tuple())

        return run

    def kernels_of(self, path: Path) -> int:
        nodes = [node.get_rt_info() for node in _compiled(path).get_runtime_model().get_ops()]
        return sum(
            node["layerType"].astype(str) in PRODUCTS and node["runtimePrecision"].astype(str) in BYTES
            for node in nodes if "layerType" in node and "runtimePrecision" in node
        )  # fmt: skip

    def seal_graph(self, path: Path, certificate: dict[str, Any]) -> None:
        import openvino

        model = openvino.Core().read_model(path)
        said = json.loads(model.get_rt_info([KEY]).astype(str))
        model.set_rt_info(json.dumps({**said, "certificate": certificate}), KEY)
        sealed = path.with_name("sealed.xml")
        openvino.save_model(model, sealed, compress_to_fp16=False)
        del model  # which has the old file mapped
        for part in (path, path.with_suffix(".bin")):
            os.replace(sealed.with_suffix(part.suffix), part)


EXPORTERS.register("openvino")(OpenVino())


def _compiled(path: Path, threads: int = 0) -> Any:
    import openvino

    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}  # what is not of integers, as simulated
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    return openvino.Core().compile_model(openvino.Core().read_model(path), "CPU", settings)
