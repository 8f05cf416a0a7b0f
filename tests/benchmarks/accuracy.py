"""The accuracy table: every recipe at every width, measured on held-out pictures.

    python -m tests.benchmarks.accuracy --models demo-vit cifar10-vit --data cifar10.zip   # or a folder
    python -m tests.benchmarks.accuracy --print                                            # the tables

Calibrated alone, nothing learned.
"""

from __future__ import annotations

import argparse
import statistics
from functools import partial
from itertools import product
from pathlib import Path

from scipy.stats import kendalltau

import vitq_core as vq
from vitq_core.experiment.reproduce import TABLES

from .cells import Bench, Cells, fill, or_refused, parser_of, width
from .markdown import table as markdown_table

RESULTS = Path(__file__).parents[2] / "docs" / "accuracy.json"
WIDTHS = ((4, 4), (3, 3), (6, 6), (8, 8))
FIGURES = ("size_mb", "fp32_size_mb", "effective_act_bits")


def main() -> None:
    fill(parse(), cells, markdown)


def parse() -> argparse.Namespace:
    parser = parser_of(__doc__, ["demo-vit", "demo-vit-outliers"], RESULTS)
    parser.add_argument("--recipes", nargs="+", default=list(vq.RECIPES))
    parser.add_argument("--widths", nargs="+", type=width, default=WIDTHS, help="4: W4/A4, 8/4: W8/A4")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="which calibration pictures")
    return parser.parse_args()


def cells(bench: Bench, arguments: argparse.Namespace) -> Cells:
    for bits, seed, name in product(arguments.widths, arguments.seeds, arguments.recipes):
        recipe = vq.recipe(name, *bits, effort="none")
        yield (
            f"{name} W{bits[0]}/A{bits[1]} seed {seed}",
            partial(or_refused, partial(bench.cell, recipe, seed, FIGURES)),
        )


def markdown(results: dict) -> str:
    """One table a model: top-1, agreement with the float model, size; mean ± deviation over seeds."""
    return "\n\n".join(table(model_id, cells) for model_id, cells in sorted(results.items()))


def table(model_id: str, cells: dict) -> str:
    widths = sorted({w for w, _ in WIDTHS}, reverse=True)
    base = cells["float"]
    lines = [
        f"**{model_id}**: full precision {base['top1']:.1%} of {base['n']:,} held-out pictures",
        "",
        "| recipe | " + " | ".join(f"W{w}/A{w}" for w in widths) + " |",
        "|---|" + "---|" * len(widths),
    ]
    for recipe in vq.RECIPES:
        row = [
            describe([c for key, c in cells.items() if key.startswith(f"{recipe} W{w}/A{w} ")])
            for w in widths
        ]
        if any(row):
            lines.append(f"| `{recipe}` | " + " | ".join(row) + " |")
    sized = {key: cell for key, cell in cells.items() if "size_mb" in cell}
    sizes = [next((c["size_mb"] for key, c in sized.items() if f" W{w}/A" in key), None) for w in widths]
    full = next(iter(sized.values()))["fp32_size_mb"]
    shown = " | ".join("" if size is None else f"{size:.2f}" for size in sizes)
    return "\n".join([*lines, f"| size, MB (float {full:.1f}) | {shown} |"])


def orders(results: dict) -> str:
    """The methods of LRP-QViT's Table 1 by their accuracy, on each model and in the paper on DeiT-S.

    τ is Kendall's: 1 where all pairs stand as in the paper, −1 where none does.
    """
    rows = []
    for bits in (4, 6):
        published = {row.recipe: row.published["DeiT-S"] for row in TABLES["1"].rows if row.bits == bits}
        rows.append([f"DeiT-S, published, W{bits}/A{bits}", _chain(published), ""])
        for model_id, cells in sorted(results.items()):
            found = {name: top1 for name in published if (top1 := mean_top1(cells, name, bits)) is not None}
            if len(found) > 2:
                tau = kendalltau([published[name] for name in found], list(found.values())).statistic
                rows.append([f"{model_id}, W{bits}/A{bits}", _chain(found), f"{tau:+.2f}"])
    return markdown_table(["model", "from worst to best", "τ"], rows)


def _chain(accuracies: dict[str, float]) -> str:
    return " < ".join(f"`{name}`" for name in sorted(accuracies, key=accuracies.get))


def mean_top1(cells: dict, recipe: str, bits: int) -> float | None:
    """None for what was not measured; a refusal counts as chance: the paper's own number where it fails."""
    found = [cell for key, cell in cells.items() if key.startswith(f"{recipe} W{bits}/A{bits} ")]
    return statistics.mean(cell.get("top1", 0.0) for cell in found) if found else None


def describe(cells: list[dict]) -> str:
    """``top-1 (agreement)`` in percent, with the deviation over calibration sets where there are several."""
    if any("refused" in cell for cell in cells):
        return "refused"
    if not cells:
        return ""
    top1 = [100 * cell["top1"] for cell in cells]
    agreement = statistics.mean(100 * cell["agreement"] for cell in cells)
    deviation = f" ± {statistics.stdev(top1):.1f}" if len(top1) > 1 else ""
    return f"{statistics.mean(top1):.1f}{deviation} ({agreement:.1f})"


if __name__ == "__main__":
    main()
