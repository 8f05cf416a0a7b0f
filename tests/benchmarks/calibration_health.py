"""Calibration pictures of one kind and of others: what `health` says of them, and what they cost.

    python -m tests.benchmarks.calibration_health --models demo-vit
    python -m tests.benchmarks.calibration_health --models cifar10-vit --data cifar10.zip
    python -m tests.benchmarks.calibration_health --print

The limits of `vitq_core/experiment/health.py` come from here. Calibrated alone, nothing learned.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path

import vitq_core as vq
from vitq_core.experiment.run import quantize_and_measure
from vitq_core.experiment.samples import Photographs, Sample, Scenes, Source, package_photographs

from .cells import Bench, Cells, described, fill, parser_of

RESULTS = Path(__file__).parents[2] / "docs" / "calibration_health.json"
SETS = ("its own", "photographs", "scenes", "4 alone", "8 of them, 4 times each")
NUMBERS = ("repeated", "nearer", "beyond", "excess")


def main() -> None:
    fill(parse(), cells, page)


def parse() -> argparse.Namespace:
    parser = parser_of(__doc__, ["demo-vit"], RESULTS)
    parser.add_argument("--recipe", default="repq")
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(5)))
    return parser.parse_args()


def cells(bench: Bench, arguments: argparse.Namespace) -> Cells:
    recipe = vq.recipe(arguments.recipe, arguments.bits, arguments.bits, effort="none")
    for seed, name in product(arguments.seeds, arguments.sets):
        if name == "scenes" and isinstance(bench.source, Scenes):
            continue
        key = f"{arguments.recipe} W{arguments.bits}/A{arguments.bits} {name} seed {seed}"
        yield key, partial(measured, bench, recipe, Mixed(bench.source, name), seed)


def measured(bench: Bench, recipe: vq.Recipe, source: Source, seed: int) -> dict:
    found = quantize_and_measure(bench.model, source, bench.reference, recipe, bench.count, seed=seed)
    return described(found, ()) | asdict(found.health) | {"warnings": found.health.warnings}


@dataclass(frozen=True)
class Mixed:
    """Calibration pictures as one of `SETS` names them; those of `own` are judged by."""

    own: Source
    name: str

    def calibration(self, count: int, seed: int) -> list[Sample]:
        if self.name == "photographs":
            return Photographs(_photographs()).calibration(count, seed)
        if self.name == "scenes":
            return Scenes(64).calibration(count, seed)
        if self.name == "4 alone":
            return self.own.calibration(4, seed)
        if self.name.startswith("8 of them"):
            return self.own.calibration(8, seed) * 4
        return self.own.calibration(count, seed)


def _photographs() -> tuple[Path, ...]:
    return package_photographs() or sys.exit("no installed package brings photographs: install the studio")


def page(results: dict) -> str:
    return "\n\n".join(table(model_id, found) for model_id, found in sorted(results.items()))


def table(model_id: str, found: dict) -> str:
    lines = [
        f"**{model_id}**: full precision {found['float']['top1']:.1%} of {found['float']['n']:,} pictures",
        "",
        "| recipe | bits | calibrated on | right | " + " | ".join(NUMBERS) + " | warned of |",
        "|---|---|---|---|" + "---|" * (len(NUMBERS) + 1),
    ]
    asked = sorted({tuple(key.split()[:2]) for key in found if key != "float"})
    for (recipe, bits), name in product(asked, SETS):
        rows = [cell for key, cell in found.items() if key.startswith(f"{recipe} {bits} {name} seed ")]
        if rows:
            lines.append(f"| `{recipe}` | {bits} | {name} | {' | '.join(columns(rows))} |")
    return "\n".join(lines)


def columns(rows: list[dict]) -> list[str]:
    """Accuracy as mean ± deviation; of the others the least and the greatest."""
    right = [100 * row["top1"] for row in rows]
    deviation = f" ± {statistics.stdev(right):.1f}" if len(rows) > 1 else ""
    ranges = []
    for name in NUMBERS:
        values = [row[name] for row in rows if row[name] is not None]
        ranges.append(f"{min(values):.3g} to {max(values):.3g}" if values else "")
    warned = sum(bool(row["warnings"]) for row in rows)
    return [f"{statistics.mean(right):.1f}{deviation}", *ranges, f"{warned} of {len(rows)}"]


if __name__ == "__main__":
    main()
