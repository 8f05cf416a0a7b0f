"""How fast full precision and exports are here: taken in turns, so that a busy machine slows all alike."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..common.checks import check_count
from ..common.errors import VitqError
from ..common.monitor import Monitor, Progress
from ..common.process_memory import resident_bytes
from ..common.words import counted
from ..quantized.result import QuantizeResult
from .base import EXPORTERS, Call, by_torch
from .certificate import Certificate
from .graphs import division_of, graphs_of

FLOAT, BFLOAT, FLOAT_ONNX = "PyTorch, 32 bits", "PyTorch, bfloat16", "ONNX Runtime, 32 bits"
WARM_UP = 2  # rounds
CHILD = "from vitq_core.exporters.speed import loading_of; loading_of()"
NOTHING: Mapping[str, Callable[[int], Call]] = {}


@dataclass(frozen=True)
class Speed:
    """Seconds that one batch takes: the median, and the quarter of the rounds that were fastest and slowest
    at least and at most."""

    what: str
    batch: int
    threads: int
    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Loading:
    """In a process of its own: seconds until it answers, and megabytes that it holds more than before."""

    what: str
    seconds: float
    megabytes: float


@dataclass(frozen=True)
class SpeedReport:
    """Of one graph, by its name (``graph``). ``skipped``: {what: why it was not measured}."""

    speeds: tuple[Speed, ...]
    loading: tuple[Loading, ...]
    skipped: dict[str, str]
    graph: str = "model"

    def ratio(self, what: str, to: str, batch: int, threads: int) -> float:
        """How many times as fast ``what`` is as ``to``, by medians."""
        found = {row.what: row.median for row in self.speeds if (row.batch, row.threads) == (batch, threads)}
        return found[to] / found[what]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def measure_speed(
    result: QuantizeResult,
    certificates: Iterable[Certificate],
    batches: Sequence[int] = (1, 8),
    threads: Sequence[int] = (),
    rounds: int = 15,
    also: Mapping[str, Callable[[int], Call]] = NOTHING,
    loading: bool = True,
    progress: Progress | None = None,
    cancel: Any = None,
) -> SpeedReport:
    """Latency, loading time and memory of the model in full precision (PyTorch in 32 bits and bfloat16, ONNX
    Runtime in 32) and of each export, given by its certificate.

    Random pictures of the model's size; after two rounds to warm up everything runs once in every one of
    ``rounds``. ``threads``: one, and as many as PyTorch uses here, unless given. ``also``: {name: threads →
    what answers pictures}, timed in the same rounds. ``loading``: whether to measure that too, for which each
    takes a process of its own, and seconds.

    Of Segment Anything the encoder is measured, which runs once for a picture, and not the decoder.

    Raises ValueError for numbers that are none, Cancelled when told to stop.
    ONNX Runtime in 32 bits is left out, and named, where it is not installed or torch cannot record the
    model.
    """
    for name, values in (("batches", batches), ("threads", threads), ("rounds", [rounds])):
        for value in values:
            check_count(name, value)
    monitor = Monitor(progress, cancel)
    monitor.report(0.0, "Preparing")
    counts = tuple(dict.fromkeys(threads or (1, torch.get_num_threads())))
    size, skipped = result.model.vitq.input_size, {}
    division = division_of(result.model.vitq.prepared.task)
    pictures = partial(division.pictures, size)
    with tempfile.TemporaryDirectory() as folder:
        files = {**_full_precision(result, Path(folder), skipped), **{c.format: c.path for c in certificates}}
        openers = {what: partial(opened, what, path) for what, path in files.items()}
        speeds: list[Speed] = []
        cells = [(batch, count) for count in counts for batch in batches]
        for index, cell in enumerate(cells):
            part = monitor.part(0.1 + 0.7 * index / len(cells), 0.1 + 0.7 * (index + 1) / len(cells))
            speeds += _in_turns({**openers, **also}, *cell, pictures, rounds, part)
        loaded: list[Loading] = []
        for what, path in files.items() if loading else ():
            monitor.report(0.8 + 0.2 * len(loaded) / len(files), "Loading each in a process of its own")
            loaded.append(_in_a_child(what, path, size))
    monitor.done("Measured")
    left_out = {title_of(what): why for what, why in skipped.items()}
    return SpeedReport(tuple(speeds), tuple(loaded), left_out, division.names[0])


def _full_precision(result: QuantizeResult, folder: Path, skipped: dict[str, str]) -> dict[str, Path]:
    """The files that the model's own runtimes open; what cannot be written is ``skipped``."""
    simulation, whole = result.model.vitq, folder / "module.pt"
    graph, *_ = graphs_of(simulation, simulation.plain_model())
    own = graph if result.source is None else graphs_of(simulation, result.source.module)[0]
    torch.save(own.module, whole)
    files, onnx = {FLOAT: whole, BFLOAT: whole}, EXPORTERS["onnx"]
    try:
        onnx.check_packages()
        onnx.write_float(graph, folder / "float.onnx")
        files[FLOAT_ONNX] = folder / "float.onnx"
    except VitqError as error:
        skipped[FLOAT_ONNX] = str(error)
    return files


def opened(what: str, path: Path, threads: int) -> Call:
    """What answers pictures with so many threads: one of the full precision's runtimes or a format."""
    if what == FLOAT_ONNX:
        return EXPORTERS["onnx"].runner(path, threads)
    if what not in (FLOAT, BFLOAT):
        return EXPORTERS[what].runner(path, threads)
    module = torch.load(path, weights_only=False).eval()  # written a moment ago by this run of ours
    return by_torch(module.bfloat16() if what == BFLOAT else module, threads)


def title_of(what: str) -> str:
    return EXPORTERS[what].title if what in EXPORTERS else what


def _in_turns(
    openers: Mapping[str, Callable[[int], Call]],
    batch: int,
    threads: int,
    pictures: Callable[[int], Tensor],
    rounds: int,
    monitor: Monitor,
) -> list[Speed]:
    images = pictures(batch)
    runs = {what: opener(threads) for what, opener in openers.items()}
    seconds: dict[str, list[float]] = {what: [] for what in runs}
    for number in range(WARM_UP + rounds):
        monitor.report(number / (WARM_UP + rounds), f"Batches of {batch}, {counted(threads, 'thread')}")
        for what, run in runs.items():
            begin = time.perf_counter()
            run(images)
            if number >= WARM_UP:
                seconds[what].append(time.perf_counter() - begin)
    return [Speed(title_of(what), batch, threads, *_quarters(taken)) for what, taken in seconds.items()]


def _quarters(seconds: list[float]) -> tuple[float, float, float]:
    """Median, lower and upper quartile."""
    if len(seconds) == 1:
        return seconds[0], seconds[0], seconds[0]
    low, middle, high = statistics.quantiles(seconds, n=4, method="inclusive")
    return middle, low, high


def _in_a_child(what: str, path: Path, size: tuple[int, int, int]) -> Loading:
    """In a fresh process, for what one process holds and has loaded another does not pay for again."""
    asked = json.dumps([what, str(path), size])
    done = subprocess.run(
        [sys.executable, "-c", CHILD, asked], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, sys.path))},
    )  # fmt: skip
    if done.returncode:
        raise VitqError(f"{title_of(what)} could not be loaded alone: {done.stderr.strip().splitlines()[-1]}")
    seconds, megabytes = json.loads(done.stdout.splitlines()[-1])
    return Loading(title_of(what), seconds, megabytes)


def loading_of() -> None:
    """What the child does: load, answer one picture, and print seconds and megabytes."""
    what, path, size = json.loads(sys.argv[1])
    if what not in (FLOAT, BFLOAT):  # a runtime's own code is no part of a model
        for module in EXPORTERS[what if what in EXPORTERS else "onnx"].needs.values():
            import_module(module)
    before, begin = resident_bytes() or 0, time.perf_counter()
    run = opened(what, Path(path), torch.get_num_threads())
    run(torch.randn(1, *size))
    print(json.dumps([time.perf_counter() - begin, ((resident_bytes() or 0) - before) / 1e6]))
