"""How well a quantized Segment Anything finds objects, on drawn scenes and on photographs.

    python -m tests.benchmarks.segmentation --data COCO.zip

Calibrated on drawn scenes that judge nothing, with boxes and clicks by turns. Cells that are in ``--results``
are not measured again; ``--scenes`` and ``--photos`` say how many pictures judge.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from itertools import islice, product
from pathlib import Path
from statistics import mean

import vitq_core as vq
from vitq_core.experiment.prompted import figures
from vitq_core.experiment.samples import CALIBRATION_SEEDS
from vitq_core.prompting import (
    CocoPictures,
    KnownAnswers,
    Labelled,
    PromptScores,
    calibration_batches,
    drawn_scenes,
    measure_prompts,
)

from .cells import save, width
from .markdown import numbers, table
from .reconstruction import CALIBRATED, QUICK, Change, Row, after, both, options, rules, without

RESULTS = Path(__file__).parents[2] / "docs" / "segmentation.json"
MODEL, SCENES, CALIBRATION = "demo-sam", 500, 32
WIDTHS, RECIPES = ("8/8", "6/6", "4/4"), ("minmax", "percentile", "repq", "adfq", "ptq4sam", "vitq")
PUBLISHED = options(taus="paper", peaks="paper", fold="all")
EVENLY = both(without("compare_stages"), without("allocate_budget"))  # equal bits
HYBRID = {"post_gelu": vq.Use("hybrid_log"), "post_relu": vq.Use("hybrid_log")}


def evenly(change: Change) -> Change:
    """With equal bits, of which nothing is compared: a budget would hide what a quantizer is worth."""
    return both(both(change, EVENLY), CALIBRATED)


ROWS = {name: Row(vq.RECIPES[name].title, name, CALIBRATED) for name in RECIPES}
ABLATION = {
    "published": Row("PTQ4SAM as published", "ptq4sam", both(PUBLISHED, CALIBRATED)),
    "clipped-ptq4sam": Row(
        "PTQ4SAM, perceptual clipping", "ptq4sam", both(after("calibrate", "clip_scores"), CALIBRATED)
    ),
    "equal-bits": Row("VitQ, equal bits", "vitq", evenly(lambda recipe: recipe)),
    "clipped": Row("perceptual clipping", "vitq", evenly(after("calibrate", "clip_scores"))),
    "hybrid": Row("hybrid log-uniform codes after GELU and ReLU", "vitq", evenly(rules(**HYBRID))),
    "relu-log": Row(
        "after ReLU as after GELU",
        "vitq",
        evenly(rules(post_relu=vq.RECIPES["vitq"].rules["post_gelu"])),
    ),
    "granularity": Row(
        "adaptive granularity after softmax",
        "vitq",
        evenly(rules(post_softmax=vq.Use("adaptive_granularity"))),
    ),
    "no-compensation": Row("no compensation", "vitq", evenly(without("compensate"))),
    "uncompensated": Row(
        "VitQ with its budget, no compensation", "vitq", both(without("compensate"), CALIBRATED)
    ),
    "no-rotation": Row("no rotated heads", "vitq", evenly(without("rotate_heads"))),
    "no-rescaling": Row("no rescaled norms", "vitq", evenly(without("reparameterize_judged"))),
    "learned": Row("VitQ, learned: blocks and whole decoder layers", "vitq", QUICK),
    "learned-ptq4sam": Row("PTQ4SAM, learned: blocks and whole decoder layers", "ptq4sam", QUICK),
}
ALL = {**ROWS, **ABLATION}
JUDGES = ("scenes", "photos")
HALVES = {"both": None, "encoder": ("encoder",), "decoder": ("decoder",)}
DIGITS = 3


@dataclass
class Bench:
    """A model, what it is calibrated on, and what judges it."""

    model: vq.Model
    batches: list[list[dict]]
    judges: dict[str, Sequence[Labelled]]

    def quantized(self, recipe: vq.Recipe, seed: int) -> tuple[vq.QuantizeResult, float]:
        """With the seconds it took."""
        begin = time.perf_counter()
        result = vq.quantize(self.model, self.batches, recipe, seed=seed)
        return result, time.perf_counter() - begin

    def cell(self, recipe: vq.Recipe, seed: int) -> dict:
        result, seconds = self.quantized(recipe, seed)
        found = {name: figures(self.asked(name, result.model)) for name in self.judges}
        return {**found, "size_mb": result.report.size_mb, "seconds": seconds}

    def asked(self, judge: str, model: object) -> PromptScores:
        """With what the model in full precision answered."""
        return measure_prompts(model, self.judges[judge], self.float_answers[judge][1])

    @cached_property
    def float_answers(self) -> dict[str, tuple[PromptScores, KnownAnswers]]:
        known = {name: KnownAnswers() for name in self.judges}
        return {
            name: (measure_prompts(self.model, pictures, keep=known[name]), known[name])
            for name, pictures in self.judges.items()
        }


def main() -> None:
    arguments = parser().parse_args()
    results = json.loads(arguments.results.read_text()) if arguments.results.exists() else {}
    if not arguments.print:
        fill(arguments, results.setdefault(arguments.model, {}), lambda: save(results, arguments.results))
    print(page(results))


def fill(arguments: argparse.Namespace, found: dict, keep: Callable[[], None]) -> None:
    """Measure what is missing."""
    bench = cache(partial(made, arguments))
    if "float" not in found:
        plain = bench(arguments.seeds[0]).float_answers
        found["float"] = {name: figures(scores) for name, (scores, _) in plain.items()}
        keep()
    wanted = product(arguments.seeds, arguments.widths, arguments.halves, arguments.rows)
    for seed, bits, half, name in wanted:
        key = " ".join((name, f"W{'/A'.join(map(str, width(bits)))}", half, f"seed {seed}"))
        if key not in found:
            row = ALL[name]
            recipe = row.change(vq.recipe(row.recipe, *width(bits), parts=HALVES[half]))
            found[key] = bench(seed).cell(recipe, seed)
            keep()
            print(key, json.dumps(found[key]), flush=True)


def made(arguments: argparse.Namespace, seed: int) -> Bench:
    """``seed`` draws what calibrates."""
    model = vq.load_model(arguments.model)
    side = model.module.image_encoder.img_size
    scenes = drawn_scenes(arguments.calibration, side, CALIBRATION_SEEDS + seed)
    judges = {"scenes": [*drawn_scenes(arguments.scenes, side)]}
    if arguments.data:
        judges["photos"] = [*islice(CocoPictures(arguments.data), arguments.photos)]
    return Bench(model, [*calibration_batches(side, scenes)], judges)


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
    parser.add_argument("--rows", nargs="+", choices=ALL, default=list(ROWS))
    parser.add_argument("--halves", nargs="+", choices=HALVES, default=["both"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--print", action="store_true", help="only print what was measured")
    return parser


def page(results: dict) -> str:
    """Of every model: by recipe on each judge, by half, and what each part is worth."""
    return "\n\n".join(_of_model(model, found) for model, found in results.items())


Cell = tuple[str, str, str]  # row, width, half
SHOWN = ("click_iou", "box_iou")


def _of_model(model: str, found: dict) -> str:
    cells: dict[Cell, list[dict]] = {}
    for key, cell in found.items():
        if key != "float":
            name, bits, half, _ = key.split(" ", 3)
            cells.setdefault((name, bits, half), []).append(cell)
    plain = found["float"]
    judges = [judge for judge in JUDGES if judge in plain]
    parts = [
        f"**{model}**, IoU from a click / from a box; in full precision "
        + "; ".join(f"{_pair([plain], judge)} on {_count(plain[judge])}" for judge in judges)
        + f". Calibration seeds: {numbers({int(key.split()[-1]) for key in found if key != 'float'})}."
    ]
    for judge in judges:
        parts.append(_grid(cells, judge, ROWS, ["both"]))
    parts.append(_grid(cells, judges[0], ROWS, ["encoder", "decoder"]))
    parts.append(_grid(cells, judges[0], ABLATION, ["both"]))
    return "\n\n".join(part for part in parts if part)


def _grid(cells: dict[Cell, list[dict]], judge: str, rows: Mapping[str, Row], halves: Sequence[str]) -> str:
    """A line for each row and half that was measured, a column for each width; empty without any."""
    widths = [f"W{'/A'.join(map(str, width(bits)))}" for bits in WIDTHS]
    lines = []
    for name, half in product(rows, halves):
        found = [cells.get((name, bits, half)) for bits in widths]
        if any(found):
            title = rows[name].title + ("" if half == "both" else f", {half} alone")
            lines.append([title, *(_pair(each, judge) if each else "–" for each in found)])
    return table([judge, *widths], lines) if lines else ""


def _pair(cells: Sequence[dict], judge: str) -> str:
    """``click / box``, means over seeds."""
    return " / ".join(f"{mean(cell[judge][figure][0] for cell in cells):.{DIGITS}f}" for figure in SHOWN)


def _count(judged: dict) -> str:
    return f"{judged['objects']:,} objects of {judged['pictures']:,} pictures"


if __name__ == "__main__":
    main()
