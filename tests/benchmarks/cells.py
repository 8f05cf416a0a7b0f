"""What the benchmarks that fill a table have in common: their options, a model with its pictures, the cells.

Each cell is kept in ``--results`` as soon as it is measured; cells that are there are not measured again.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

import vitq_core as vq
from vitq_core.demo.scenes import LABELS
from vitq_core.experiment.folders import ALL
from vitq_core.experiment.measure import Batches
from vitq_core.experiment.run import Measured, quantize_and_measure, refer
from vitq_core.experiment.samples import Sample, Source, builtin_source
from vitq_core.pictures import PictureFolder

SCENES = 2000  # are held out unless told otherwise
Cells = Iterable[tuple[str, Callable[[], dict]]]  # (key, what measures it)


class Bench:
    """A model, its pictures, and what it answers in full precision."""

    def __init__(self, model_id: str, arguments: argparse.Namespace) -> None:
        self.model, self.count = vq.load_model(model_id), arguments.calibration
        self.source = source_of(self.model, arguments.data)
        drawn = tuple(self.model.labels or ()) == LABELS
        held_out = arguments.limit or (SCENES if drawn else ALL)
        self.reference = refer(self.model, self.source, held_out)

    def images(self, seed: int, count: int | None = None) -> Tensor:
        """[count, 3, H, W]: the calibration pictures of ``seed``."""
        return stacked(self.model, self.source.calibration(count or self.count, seed))

    def cell(self, recipe: vq.Recipe, seed: int, figures: Sequence[str]) -> dict:
        return described(self.run(recipe, seed), figures)

    def run(self, recipe: vq.Recipe, seed: int, module: nn.Module | None = None) -> Measured:
        """``module``: what is quantized in the model's place."""
        model = replace(self.model, module=module) if module else self.model
        return quantize_and_measure(model, self.source, self.reference, recipe, self.count, seed=seed)


def described(found: Measured, figures: Sequence[str]) -> dict:
    """What every table shows of a run, and ``figures`` of its report."""
    measured = {name: found.evaluation[name] for name in ("top1", "n", "agreement", "kl")}
    return measured | {name: found.result.report[name] for name in figures}


@dataclass(frozen=True)
class TrainAndTest:
    """The parts train and test of a folder or zip of photographs."""

    model: vq.Model
    data: str

    def calibration(self, count: int, seed: int) -> list[Sample]:
        return _samples(self.model, self.data, "train", count, seed)

    def held_out(self, count: int) -> list[Sample]:
        return _samples(self.model, self.data, "test", count, 0)


@lru_cache(maxsize=4)
def _samples(model: vq.Model, data: str, split: str, count: int, seed: int) -> list[Sample]:
    """Balanced over the classes, the same for the same seed."""
    return samples_of(PictureFolder(data, model.preprocess, count, seed, split, model.labels))


def samples_of(folder: PictureFolder) -> list[Sample]:
    return [
        Sample(name, label, lambda index=index: folder.picture(index))
        for index, (name, label) in enumerate(folder.files)
    ]


def source_of(model: vq.Model, data: str | None) -> Source | TrainAndTest:
    """The scenes of a model that was trained on them, for others ``data``."""
    if tuple(model.labels or ()) == LABELS:
        return builtin_source(model)
    if data is None:
        raise SystemExit(f"{model.info.id} was trained on photographs: give them as --data")
    return TrainAndTest(model, data)


def stacked(model: vq.Model, samples: Sequence[Sample]) -> Tensor:
    """[N, 3, H, W], preprocessed."""
    return torch.cat([images for images, _ in Batches(samples, model.preprocess)])


def models_parser(
    description: str, models: list[str], limit: int | None, results: Path | None
) -> argparse.ArgumentParser:
    """The options of every benchmark of models on held-out pictures."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=models)
    many = f"{SCENES:,} scenes, all photos" if limit is None else f"{limit:,}"
    parser.add_argument("--limit", type=int, default=limit, help=f"held-out pictures (default: {many})")
    parser.add_argument(
        "--data", help="folder or zip with train/ and test/, for models trained on photographs"
    )
    parser.add_argument("--results", type=Path, default=results)
    return parser


def parser_of(description: str, models: list[str], results: Path | None) -> argparse.ArgumentParser:
    """The options of every benchmark that fills a table."""
    parser = models_parser(description, models, None, results)
    parser.add_argument("--calibration", type=int, default=32, help="calibration pictures")
    parser.add_argument("--print", action="store_true", help="only print what was measured")
    return parser


def fill(
    arguments: argparse.Namespace,
    cells: Callable[[Bench, argparse.Namespace], Cells],
    markdown: Callable[[dict], str],
) -> None:
    """Measure what is missing, then print ``markdown(results)``."""
    results = json.loads(arguments.results.read_text()) if arguments.results.exists() else {}
    for model_id in [] if arguments.print else arguments.models:
        bench, found = Bench(model_id, arguments), results.setdefault(model_id, {})
        found["float"] = {name: bench.reference.evaluation[name] for name in ("top1", "n")}
        for key, measure in cells(bench, arguments):
            if key not in found:
                found[key] = measure()
                save(results, arguments.results)
                print(model_id, key, found[key], flush=True)
    print(markdown(results))


def top1_of(found: dict, prefix: str) -> str:
    """In percent, of the cells whose keys begin so: the mean, with the deviation where there are several."""
    top1 = [100 * cell["top1"] for key, cell in found.items() if key.startswith(prefix)]
    if not top1:
        return ""
    deviation = f" ± {statistics.stdev(top1):.1f}" if len(top1) > 1 else ""
    return f"{statistics.mean(top1):.1f}{deviation}"


def or_refused(measure: Callable[[], dict]) -> dict:
    """What ``measure`` gives, or {"refused": why}: the paper's policy has no bits above 8 to give."""
    try:
        return measure()
    except ValueError as error:
        return {"refused": str(error)}


def save(results: dict, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1, sort_keys=True))


def width(text: str) -> tuple[int, int]:
    """``"4"`` → (4, 4), ``"8/4"`` → (8, 4): weight and activation bits."""
    weight, _, act = text.partition("/")
    return int(weight), int(act or weight)
