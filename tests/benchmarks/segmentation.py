"""How well a quantized Segment Anything finds objects, on drawn scenes and on photographs.

    python -m tests.benchmarks.segmentation --data COCO.zip

Calibrated on drawn scenes that judge nothing, with boxes and clicks by turns. Cells that are in ``--results``
are not measured again; ``--scenes`` and ``--photos`` say how many pictures judge.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path

import vitq_core as vq
from vitq_core.experiment.samples import CALIBRATION_SEEDS
from vitq_core.prompting import (
    CocoPictures,
    Labelled,
    PromptScores,
    calibration_batches,
    drawn_scenes,
    measure_prompts,
)

from .cells import save, width
from .markdown import table

RESULTS = Path(__file__).parents[2] / "docs" / "segmentation.json"
MODEL, SCENES, CALIBRATION = "demo-sam", 500, 32
WIDTHS, RECIPES = ("8/8", "6/6", "4/4"), ("minmax", "percentile", "repq", "adfq", "ptq4sam", "vitq")
HALVES = {"both": None, "encoder": ("encoder",), "decoder": ("decoder",)}
ROUGH = 3  # digits


@dataclass(frozen=True)
class Bench:
    """A model, what it is calibrated on, and what judges it."""

    model: vq.Model
    batches: list[list[dict]]
    judges: dict[str, Callable[[], Iterator[Labelled]]]

    def quantized(self, recipe: vq.Recipe, seed: int) -> tuple[vq.QuantizeResult, float]:
        """With the seconds it took."""
        begin = time.perf_counter()
        result = vq.quantize(self.model, self.batches, recipe, seed=seed)
        return result, time.perf_counter() - begin

    def cell(self, recipe: vq.Recipe, seed: int) -> dict:
        result, seconds = self.quantized(recipe, seed)
        found = {name: figures(self.asked(name, result.model, self.model)) for name in self.judges}
        return {**found, "size_mb": result.report.size_mb, "seconds": seconds}

    def asked(self, judge: str, model: object, reference: object = None) -> PromptScores:
        return measure_prompts(model, self.judges[judge](), reference)


def figures(scores: PromptScores) -> dict:
    """JSON-ready: means with their standard errors, and what was counted."""
    return {
        name: value if isinstance(value, int) else [value.mean, value.error]
        for name, value in scores.items()
        if value is not None
    }


def main() -> None:
    arguments = parser().parse_args()
    results = json.loads(arguments.results.read_text()) if arguments.results.exists() else {}
    if not arguments.print:
        fill(arguments, results.setdefault(arguments.model, {}), lambda: save(results, arguments.results))
    print(markdown(results))


def fill(arguments: argparse.Namespace, found: dict, keep: Callable[[], None]) -> None:
    """Measure what is missing."""
    bench = made(arguments)
    if "float" not in found:
        found["float"] = {name: figures(bench.asked(name, bench.model)) for name in bench.judges}
        keep()
    wanted = product(arguments.widths, arguments.halves, arguments.recipes)
    for bits, half, name in wanted:
        key = " ".join((name, f"W{'/A'.join(map(str, width(bits)))}", half, f"seed {arguments.seed}"))
        if key not in found:
            given = {"parts": HALVES[half], **dict(option(text) for text in arguments.options)}
            recipe = vq.recipe(name, *width(bits), effort=arguments.effort, **given)
            found[key] = bench.cell(recipe, arguments.seed)
            keep()
            print(key, json.dumps(found[key]), flush=True)


def made(arguments: argparse.Namespace) -> Bench:
    model = vq.load_model(arguments.model)
    side = model.module.image_encoder.img_size
    scenes = drawn_scenes(arguments.calibration, side, CALIBRATION_SEEDS + arguments.seed)
    judges: dict[str, Callable] = {"scenes": lambda: drawn_scenes(arguments.scenes, side)}
    if arguments.data:
        judges["photos"] = lambda: islice(CocoPictures(arguments.data), arguments.photos)
    return Bench(model, [*calibration_batches(side, scenes)], judges)


def option(text: str) -> tuple[str, object]:
    """``"fold=all"`` → ("fold", "all"): numbers and true or false as JSON has them."""
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--data", help="folder or zip of photographs with COCO's instances")
    parser.add_argument("--scenes", type=int, default=SCENES)
    parser.add_argument("--photos", type=int, help="of the photographs (default: all)")
    parser.add_argument("--calibration", type=int, default=CALIBRATION, help="scenes that calibrate")
    parser.add_argument("--widths", nargs="+", default=WIDTHS)
    parser.add_argument("--recipes", nargs="+", default=RECIPES)
    parser.add_argument("--halves", nargs="+", choices=HALVES, default=["both"])
    parser.add_argument("--options", nargs="*", default=[], help="of the recipe, as fold=all")
    parser.add_argument("--effort", default="none")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--print", action="store_true", help="only print what was measured")
    return parser


def markdown(results: dict) -> str:
    """A table for each model: rows by recipe, columns by what was asked of what."""
    return "\n\n".join(_table(model, found) for model, found in results.items())


COLUMNS = {"click": "click_iou", "box": "box_iou", "3 clicks": "three_clicks_iou", "same": "box_agreement"}


def _table(model: str, found: dict) -> str:
    judges = [name for name in ("scenes", "photos") if name in found["float"]]
    head = [model, *(f"{judge}: {column}" for judge in judges for column in COLUMNS)]
    rows = [[key, *_shown(cell, judges)] for key, cell in found.items()]
    return table(head, rows)


def _shown(cell: dict, judges: list[str]) -> list[str]:
    return [
        f"{cell[judge][figure][0]:.{ROUGH}f}" if figure in cell[judge] else "–"
        for judge in judges
        for figure in COLUMNS.values()
    ]


if __name__ == "__main__":
    main()
