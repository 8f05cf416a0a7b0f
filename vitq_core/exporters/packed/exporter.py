"""The packed folder as one of the formats of ``export``."""

from __future__ import annotations

from pathlib import Path
from textwrap import indent

from ...quantized.result import QuantizeResult
from ...tasks import Task
from ..base import EXPORTERS, Answer, Call, Exporter, Written, by_torch
from ..graphs import graphs_of
from .container import DESCRIPTION, README, WEIGHTS
from .loading import load_quantized
from .readme import call
from .saving import save_quantized

UNHURRIED = "Smallest, not faster: codes of 2 to 8 bits, from which the simulation is made again."
LINES = """from huggingface_hub import snapshot_download
import vitq_core as vq
quantized = vq.load_quantized(snapshot_download("{repo}"))"""
HOW = """{call}

Python finds `vitq_core` where `PYTHONPATH` names the folder of VitQ Studio. Loading gives exactly the
model that was measured, bit for bit."""


class Packed(Exporter):
    name = "packed"
    title = "Packed"
    aim = "Smallest file"
    summary = "The smallest file: every weight in its own number of bits, loaded by VitQ itself."
    files = (WEIGHTS, DESCRIPTION, README)

    def write(self, result: QuantizeResult, folder: Path) -> Written:
        save_quantized(result, folder)
        return Written(folder / WEIGHTS, sentences=(UNHURRIED,))

    def runner(self, path: Path, threads: int = 0) -> Call:
        return by_torch(graphs_of(load_quantized(path.parent).model.vitq)[0].module, threads)

    def load(self, path: Path, task: Task) -> Answer:
        model = load_quantized(path.parent).model
        return lambda batch: task.run(model, batch.on(model), "the packed file")

    def how(self, result: QuantizeResult) -> str:
        return HOW.format(call=indent(call(result), "    "))

    def lines(self, repo: str, name: str) -> str:
        return LINES.format(repo=repo)


EXPORTERS.register("packed")(Packed())
