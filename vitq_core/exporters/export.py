"""``export``: write a format, load it again, compare it with the simulation, then put it in place."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..common.checks import check_name
from ..common.digests import digest_of_files
from ..common.errors import StorageError, VitqError
from ..common.files import given_path
from ..common.modes import evaluating
from ..common.monitor import Monitor, Progress
from ..quantized.result import QuantizeResult
from .base import EXPORTERS, Exporter, Written
from .certificate import Certificate, Comparison, batches_of, shaken
from .packed import load_quantized, save_quantized
from .readme import readme

CERTIFICATE, README = "certificate.json", "README.md"
COMPARED = 8  # random pictures, where none are given


def export(
    result: QuantizeResult,
    folder: str | Path,
    format: str = "onnx",
    images: Tensor | Iterable | None = None,
    progress: Progress | None = None,
    cancel: Any = None,
) -> Certificate:
    """Write ``result`` into ``folder`` as ``format`` (a key of ``EXPORTERS``), and prove what was written.

    ``images``: preprocessed pictures [N, C, H, W], or a loader that gives batches of them, with labels or
    without: both models answer them, and the packed file too. Without any, random ones. The file is loaded
    from disk by its runtime before it takes its name; stopped or failing, the model in the folder is the old
    one, and broken off at any point never a mixture of both.
    Beside it lie ``certificate.json`` and a ``README.md`` with lines that run it.

    Raises ValueError for an unknown format or what is no result, VitqError for a model that the format cannot
    hold (it names what, and the recipe nearest to it that it can: :func:`integer_form`) or a runtime that
    is not installed, StorageError for a folder that cannot be written, Cancelled when told to stop.
    """
    check_name("format", format, EXPORTERS)
    if not isinstance(result, QuantizeResult):
        raise ValueError(f"export takes what quantize returned, got {type(result).__name__}")
    folder, exporter = given_path(folder, "folder", "folder"), EXPORTERS[format]
    monitor = Monitor(progress, cancel)
    exporter.check(result)
    monitor.report(0.0, "Writing the file")
    fresh = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".export-") as temporary:
            made = Path(temporary) / folder.resolve().name  # which the files may name
            made.mkdir()
            certificate = _made(exporter, result, made, images, monitor)
            _put_in_place(made, folder, certificate.path.name, certificate.parts)
    except OSError as error:
        reason = error.strerror or "the disk refused"
        raise StorageError(
            f"the export cannot be written to {folder}: {error}", f"the export cannot be written: {reason}"
        ) from error
    finally:
        if fresh and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    monitor.done("Exported")
    return Certificate.from_json(certificate.to_json(), folder)


def _put_in_place(made: Path, folder: Path, main: str, parts: tuple[str, ...]) -> None:
    """Move what was ``made`` into ``folder``, so that whoever looks in between finds the old model, none, or
    the new one.

    One file is replaced at once, and first. Of a model of several the old ones step aside, the one to be
    loaded first, and the new ones come, that one last; where that fails the old ones come back.
    """
    aside, moved = made.parent / "aside", []
    aside.mkdir()
    others = [path.name for path in made.iterdir() if path.name not in (main, *parts)]
    try:
        for name in (main, *parts) if parts else ():
            if (folder / name).exists():
                os.replace(folder / name, aside / name)
                moved.append(name)
        for name in (*parts, main):
            os.replace(made / name, folder / name)
    except BaseException:
        for name in reversed(moved):  # the one to be loaded last
            os.replace(aside / name, folder / name)
        raise
    for name in others:
        os.replace(made / name, folder / name)


def _made(
    exporter: Exporter,
    result: QuantizeResult,
    made: Path,
    images: Tensor | Iterable | None,
    monitor: Monitor,
) -> Certificate:
    """All the files of an export in the empty folder ``made``."""
    written = exporter.write(result, made)
    monitor.report(0.5, "Comparing what was written")
    packed, unpackable = _packed(result, made)
    compared = _compared(exporter, result, written, packed, images, monitor.part(0.5, 0.95))
    figures = {
        "format": exporter.name,
        "path": written.path,
        "parts": exporter.parts_of(written.path.name),
        "fp32_bytes": round(1e6 * result.report.fp32_size_mb),
        "integer_nodes": written.integer_nodes,
        "promised": written.promised,
        "kernels": exporter.kernels(written.path),
        "packed": None if packed is None else compared.packed.difference,
        **compared.figures(),
    }
    sentences = (*written.sentences, *unpackable, *_said(figures, images is None))
    unsealed = Certificate(**figures, bytes=0, sha256="", sentences=sentences)
    about = {key: value for key, value in unsealed.to_json().items() if key not in ("bytes", "sha256")}
    exporter.seal(written.path, about)
    files = (written.path, *(made / part for part in figures["parts"]))
    certificate = Certificate(
        **figures,
        bytes=sum(path.stat().st_size for path in files),
        sha256=digest_of_files(files),
        sentences=sentences,
    )
    (made / CERTIFICATE).write_text(json.dumps(certificate.to_json(), indent=1))
    if not (made / README).exists():
        (made / README).write_text(readme(exporter, result, certificate))
    return certificate


def _compared(
    exporter: Exporter,
    result: QuantizeResult,
    written: Written,
    packed: nn.Module | None,
    images: Tensor | Iterable | None,
    monitor: Monitor,
) -> Comparison:
    """What the file, and the packed one where there is one, answer against what the simulation does."""
    simulation = result.model.vitq
    task, size = simulation.prepared.task, simulation.input_size
    compared, answer = Comparison(task), exporter.load(written.path, task)
    given = [task.example(size, COMPARED)] if images is None else batches_of(images, task, size)
    with torch.inference_mode(), evaluating(result.model):
        for done, batch in enumerate(given):
            monitor.report(1 - 0.5**done, "Comparing what was written")
            found = answer(batch)
            own = [task.run(result.model, each.on(result.model)) for each in (batch, shaken(batch))]
            if packed is not None:
                compared.packed.add(task.run(packed, batch.on(packed)), own[0])
            compared.add(found, *({name: each[name] for name in found} for each in own), batch.truth)
    return compared


def _packed(result: QuantizeResult, made: Path) -> tuple[nn.Module | None, list[str]]:
    """The model as the packed file gives it back, or a sentence that says why there is none."""
    with tempfile.TemporaryDirectory(dir=made.parent) as folder:
        try:
            return load_quantized(save_quantized(result, folder)).model, []
        except VitqError as error:
            return None, [f"There is no packed file to compare: {error}."]


def _said(figures: dict[str, Any], random: bool) -> list[str]:
    """What a reader must know of the figures."""
    said = ["The pictures compared are random ones: none were given."] if random else []
    nodes, promised, kernels = (figures[name] for name in ("integer_nodes", "promised", "kernels"))
    if nodes is not None and kernels is not None and kernels < nodes:
        said.append(
            f"This machine's runtime computes {kernels} of the {nodes} integer products with integers, "
            "the others with floats."
        )
    if nodes != promised:
        said.append(f"Of {promised} products that the recipe quantizes the file holds {nodes} in integers.")
    return said
