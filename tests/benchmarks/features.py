"""What quantizing costs a model of features: cosines of its tokens with those in full precision.

    python -m tests.benchmarks.features --weights FILE.safetensors --data PICTURES.zip

``--weights``: of timm's ``vit_small_patch14_dinov2`` at 224 pixels without a head. ``--data``: a folder or
zip of photographs; one third of the first 96 judges. Rows that are in ``--out`` are not measured again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from statistics import mean, stdev

import timm
import torch
from safetensors.torch import load_file
from torch import nn

import vitq_core as vq
from vitq_core.experiment.measure import cosines_of
from vitq_core.experiment.run import quantize_and_measure, refer
from vitq_core.experiment.samples import Sample
from vitq_core.pictures import PictureFolder

from .cells import or_refused, samples_of
from .markdown import numbers, table

RESULTS = Path(__file__).parents[2] / "docs" / "features.json"
ARCHITECTURE, SIDE = "vit_small_patch14_dinov2", 224
WIDTHS = ("8/8", "6/6", "4/4", "3/3")
KEY = ("recipe", "weight_bits", "act_bits", "effort", "seed")  # what tells a row from the others
PICTURES = 32  # calibrate, and as many judge
EFFORTS = ("none", "quick", "standard")
README_COLUMNS = ("token_cosine",)
PAGE_COLUMNS = ("token_cosine", "token_min", "class_cosine", "class_min")


def load(weights: str) -> vq.Model:
    """The tower in full precision, with its preprocessing."""
    module = timm.create_model(ARCHITECTURE, img_size=SIDE, num_classes=0)
    state = {name: tensor.float() for name, tensor in load_file(weights).items()}
    module.load_state_dict(state, strict=True)
    return vq.wrap_model(module.eval().requires_grad_(False))


class EveryThirdJudges:
    """Of the photographs of a folder or zip, in the order of their names, every third one judges; a seed
    draws those that calibrate from the others."""

    def __init__(self, data: str, model: vq.Model) -> None:
        samples = samples_of(PictureFolder(data, model.preprocess))
        self._judging = samples[::3]
        self._others = [sample for index, sample in enumerate(samples) if index % 3]

    def calibration(self, count: int, seed: int) -> list[Sample]:
        order = torch.randperm(len(self._others), generator=torch.Generator().manual_seed(seed))
        return [self._others[index] for index in order[:count]]

    def held_out(self, count: int) -> list[Sample]:
        return self._judging[:count]


def main() -> None:
    arguments = parser(__doc__, RESULTS).parse_args()
    bench = Bench(arguments.weights, arguments.data)
    wanted = product(arguments.seeds, arguments.efforts, arguments.recipes, arguments.widths)
    fill(
        arguments.out,
        (
            dict(zip(KEY, (name, *bits(width), effort, seed), strict=True))
            for seed, effort, name, width in wanted
        ),
        bench.measured,
    )


def bits(width: str) -> tuple[int, int]:
    """ "4/8" → (4, 8): of weights and activations."""
    weight, act = width.split("/")
    return int(weight), int(act)


def fill(out: Path, keys: Iterable[dict], measure: Callable[[dict], dict]) -> None:
    """Measure the rows that ``out`` lacks, and write each there."""
    rows = json.loads(out.read_text()) if out.exists() else []
    for key in keys:
        if not any(key.items() <= row.items() for row in rows):
            rows.append(key | or_refused(partial(measure, key)))
            print(json.dumps(rows[-1]), flush=True)
            out.write_text(json.dumps(rows, indent=1) + "\n")


def parser(description: str, out: Path) -> argparse.ArgumentParser:
    """The options of the benchmarks on this model."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, default=out)
    parser.add_argument("--recipes", nargs="*", default=list(vq.RECIPES))
    parser.add_argument("--widths", nargs="*", default=WIDTHS)
    parser.add_argument("--efforts", nargs="*", default=EFFORTS[:1], choices=EFFORTS)
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    return parser


class Bench:
    """The model, its photographs, and what it says of those that judge."""

    def __init__(self, weights: str, data: str) -> None:
        self.model = load(weights)
        self.source = EveryThirdJudges(data, self.model)
        self.reference = refer(self.model, self.source, PICTURES)

    def measured(self, key: dict) -> dict:
        name, *width, effort, seed = (key[each] for each in KEY)
        return self.cosines(vq.recipe(name, *width, effort=effort), seed)

    def cosines(self, recipe: vq.Recipe, seed: int, module: nn.Module | None = None) -> dict:
        """Means and minima over pictures, and over a picture's patches; this tower pools its class token.
        ``module``: what is quantized in the model's place."""
        model = replace(self.model, module=module) if module else self.model
        found = quantize_and_measure(model, self.source, self.reference, recipe, PICTURES, seed=seed)
        return {
            "n": PICTURES,
            "token_cosine": found.evaluation.token_cosine,
            "token_min": found.evaluation.min_cosine,
            "class_cosine": found.evaluation.class_token_cosine,
            "class_min": float(cosines_of(found.logits, self.reference.logits).min()),
            "undone": [stage.stage for stage in found.result.report.stages if not stage.kept],
            "seconds": round(found.result.report.seconds, 1),
        }


def readme(rows: Sequence[Mapping]) -> str:
    """What nothing was learned for, the patches' mean alone."""
    return cosines_table(comparable(rows, EFFORTS[0]), README_COLUMNS)


def comparable(rows: Sequence[Mapping], effort: str) -> list[Mapping]:
    """Those of an effort and of the seeds that every recipe was measured with at every width: means of other
    seeds would compare draws of photographs."""
    found = [row for row in rows if row["effort"] == effort]
    cells = {(row["recipe"], width_of(row)) for row in found}
    seeds = {row["seed"] for row in found}
    whole = {
        seed
        for seed in seeds
        if cells == {(row["recipe"], width_of(row)) for row in found if row["seed"] == seed}
    }
    return [row for row in found if row["seed"] in whole]


def cosines_table(rows: Sequence[Mapping], columns: tuple[str, ...]) -> str:
    """A line for every recipe, a column for every width; means over seeds in the order of ``columns``."""
    found: dict[str, dict[str, list[Mapping]]] = {}
    for row in rows:
        found.setdefault(row["recipe"], {}).setdefault(width_of(row), []).append(row)
    lines = [
        (f"`{name}`", *(cosines(cells.get(bits, []), columns) for bits in map(titled, WIDTHS)))
        for name, cells in found.items()
    ]
    return table(("recipe", *map(titled, WIDTHS)), lines)


def width_of(row: Mapping) -> str:
    return "W{weight_bits}/A{act_bits}".format(**row)


def titled(width: str) -> str:
    """ "4/8" → "W4/A8"."""
    return "W{}/A{}".format(*width.split("/"))


def cosines(rows: Sequence[Mapping], columns: tuple[str, ...]) -> str:
    """Means over ``rows``."""
    measured = [row for row in rows if "token_cosine" in row]
    if not measured:
        return "refused" if rows else ""
    return " / ".join(f"{mean(row[name] for row in measured):.3f}" for name in columns)


def page(rows: Sequence[Mapping]) -> str:
    """A table for every effort with its seeds, the largest deviation over them and the sample sizes."""
    parts = []
    for effort in EFFORTS:
        found = comparable(rows, effort)
        measured = [row for row in found if "n" in row]
        if measured:
            sizes, seeds = (numbers(row[name] for row in measured) for name in ("n", "seed"))
            about = f"Pictures judged: {sizes}; seeds: {seeds}{_deviations(measured)}."
            parts.append(f"`effort={effort!r}`:\n\n{cosines_table(found, PAGE_COLUMNS)}\n\n{about}")
    return "\n\n".join(parts)


def _deviations(rows: Sequence[Mapping]) -> str:
    """Over seeds, of the mean cosine of patches, the largest at each width."""
    groups: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        groups.setdefault((width_of(row), row["recipe"]), []).append(row["token_cosine"])
    found: dict[str, list[float]] = {}
    for (bits, _), values in groups.items():
        if len(values) > 1:
            found.setdefault(bits, []).append(stdev(values))
    said = ", ".join(f"{max(values):.3f} at {bits}" for bits, values in found.items())
    return f"; largest deviation of the patches' mean over them: {said}" if said else ""


if __name__ == "__main__":
    main()
