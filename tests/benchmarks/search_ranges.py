"""How far below a tensor's largest value a search may go: three methods, each with the ranges of all three.

    python -m tests.benchmarks.search_ranges
    python -m tests.benchmarks.search_ranges --print

What PTQ4ViT, APQ-ViT and Ranking search by stays as it is; what is exchanged are the factors of a tensor's
own range that are tried. Calibrated alone, nothing learned.
"""

from __future__ import annotations

import argparse
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import product
from pathlib import Path
from unittest.mock import patch

import vitq_core as vq
from vitq_core.passes import block_search, hessian_search, ranking_search
from vitq_core.quantizers.kernels.scaled import FIRST, LAST, factors

from .cells import Bench, Cells, fill, parser_of, top1_of, width
from .markdown import table

RESULTS = Path(__file__).parents[2] / "docs" / "search_ranges.json"
# {whose they are: the least and the greatest factor}; APQ-ViT's are those of linear layers.
RANGES = {
    "ptq4vit": (FIRST, LAST),
    "ranking": (ranking_search.FIRST, ranking_search.LAST),
    "apq": block_search.LINEAR,
}


def main() -> None:
    fill(parse(), cells, page)


def parse() -> argparse.Namespace:
    parser = parser_of(__doc__, ["demo-vit", "demo-vit-outliers"], RESULTS)
    parser.add_argument("--widths", nargs="+", type=width, default=[(6, 6), (4, 4)], help="4: W4/A4")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="which calibration pictures")
    return parser.parse_args()


def cells(bench: Bench, arguments: argparse.Namespace) -> Cells:
    def measured(name: str, bits: tuple[int, int], whose: str, seed: int) -> dict:
        with searching(name, whose):
            return bench.cell(vq.recipe(name, *bits, effort="none"), seed, ())

    for bits, seed, name, whose in product(arguments.widths, arguments.seeds, RANGES, RANGES):
        key = f"{name} in ranges of {whose} W{bits[0]}/A{bits[1]} seed {seed}"
        yield key, partial(measured, name, bits, whose, seed)


def searching(name: str, whose: str) -> AbstractContextManager:
    """While it lasts, the recipe ``name`` tries the factors of another."""
    ends = RANGES[whose]
    if name == whose:
        return nullcontext()
    if name == "ptq4vit":
        return patch.object(hessian_search, "factors", lambda: factors(*ends))
    if name == "ranking":
        return patch.multiple(ranking_search, FIRST=ends[0], LAST=ends[1])
    return patch.multiple(block_search, LINEAR=ends, OTHERS=ends)


def page(results: dict) -> str:
    """A row for each model, width and method, a column for each range: top-1, mean ± deviation."""
    rows = []
    for model_id, found in sorted(results.items()):
        keys = {key.split(" seed ")[0] for key in found if key != "float"}
        widths = sorted({key.rpartition(" ")[2] for key in keys}, reverse=True)
        for bits, name in product(widths, RANGES):
            shown = [top1_of(found, f"{name} in ranges of {whose} {bits} ") for whose in RANGES]
            rows.append([f"{model_id}, {bits}", f"`{name}`", *shown])
    head = [f"factors {first} to {last}, `{name}`" for name, (first, last) in RANGES.items()]
    return table(["model", "method", *head], rows)


if __name__ == "__main__":
    main()
