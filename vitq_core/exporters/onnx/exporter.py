"""``model.onnx``: QuantizeLinear and DequantizeLinear around every product, with the model's own scales."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...quantized.result import QuantizeResult
from ..base import EXPORTERS, Call, Written
from ..graphs import Graph, division_of
from .integer import IntegerFormat, exported

if TYPE_CHECKING:
    from onnx import ModelProto

SCRIPT = "run_it.py"
SCRIPTS = {"model": SCRIPT, "encoder": "run_sam.py"}  # by the first graph: what lies beside us and runs it
HOW = f"""    pip install onnxruntime numpy pillow
    python {SCRIPT} picture.jpg

`{SCRIPT}` prepares the picture and prints what the model answers; what it needs to know is in the file."""
HOW_TO_CLICK = f"""    pip install onnxruntime numpy pillow
    python {SCRIPT} picture.jpg 320 200

`{SCRIPT}` writes the mask of the object at these pixels of the picture to `mask.png`. In Python:

"""


class Onnx(IntegerFormat):
    name = "onnx"
    title = "ONNX"
    aim = "Fast here"
    summary = "Runs with integers in ONNX Runtime and everything that reads ONNX."
    needs = {"onnx": "onnx", "onnxscript": "onnxscript", "onnxruntime": "onnxruntime"}
    suffixes, beside = (".onnx",), (SCRIPT,)
    opening = "onnxruntime.InferenceSession({path})"
    calling = '(output,) = model.run(None, {"pictures": pictures})  # float32 [N, C, H, W], prepared'
    containers = (4, 8)
    library = "onnx"

    def write(self, result: QuantizeResult, folder: Path) -> Written:
        written = super().write(result, folder)
        if _knows_pictures(result):
            shutil.copyfile(Path(__file__).with_name(SCRIPTS[written.path.stem]), folder / SCRIPT)
        return written

    def save(self, model: ModelProto, path: Path, said: dict[str, Any]) -> None:
        import onnx

        from .graph import describe, pack_four_bits

        pack_four_bits(model)
        describe(model, said)
        onnx.checker.check_model(model)
        onnx.save(model, path)

    def write_float(self, graph: Graph, path: Path) -> None:
        """A graph in full precision, to compare with. Raises VitqError where torch cannot record it."""
        import onnx

        onnx.save(exported(graph), path)

    def runner(self, path: Path, threads: int = 0) -> Call:
        from .runtime import answered, session

        return partial(answered, session(path, threads))

    def how(self, result: QuantizeResult) -> str:
        if not _knows_pictures(result):
            return super().how(result)
        return HOW if _is_whole(result) else HOW_TO_CLICK + super().how(result)

    def kernels_of(self, path: Path) -> int:
        from .runtime import integer_kernels

        return integer_kernels(path)

    def seal_graph(self, path: Path, certificate: dict[str, Any]) -> None:
        import onnx

        from .graph import describe, described

        model = onnx.load(path)
        describe(model, {**described(model), "certificate": certificate})
        onnx.save(model, path)


EXPORTERS.register("onnx")(Onnx())


def _is_whole(result: QuantizeResult) -> bool:
    return len(division_of(result.model.vitq.prepared.task).names) == 1


def _knows_pictures(result: QuantizeResult) -> bool:
    """Whether it is known how pictures are prepared: Segment Anything does that itself."""
    return result.source is not None or not _is_whole(result)
