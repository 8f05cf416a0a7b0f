"""The mixed-precision table: bits by relevance, by other scores, and dealt out at random.

    python -m tests.benchmarks.mixed_precision --models demo-vit --limit 1000
    python -m tests.benchmarks.mixed_precision --models cifar10-vit --data cifar10.zip
    python -m tests.benchmarks.mixed_precision --print

Every row uses CRL's quantizers and the same calibration pictures; only the table of bits differs.
"""

from __future__ import annotations

import argparse
import random
import statistics
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import vitq_core as vq

from .cells import Bench, Cells, fill, parser_of

RESULTS = Path(__file__).parents[2] / "docs" / "mixed_precision.json"
WIDTHS = (4, 3)
SEEDS = 10
FIGURES = ("avg_weight_bits", "avg_act_bits", "gbops")
MANY = 1024  # pictures for the rows that score layers on more than the calibration set
Table = dict[str, tuple[int | None, int]]

ROWS = {  # name → (what the page calls it)
    "crl": "`crl`: the same bits everywhere",
    "lrp": "`lrp`: paper's policy, relevance",
    "lrp 1024": "… scored on 1,024 pictures",
    "first block": "first block + 1, nothing lowered",
    "first two blocks": "first two blocks + 1, nothing lowered",
    "lrp first block": "`lrp`, first block only",
    "lrp fisher": "`lrp`, Fisher information",
    "lrp sqnr": "`lrp`, noise at the layer's output",
    "lrp random": "`lrp`'s bits shuffled over the blocks",
    "budget": "`lrp-budget`: relevance × noise",
    "budget 1024": "… scored on 1,024 pictures",
    "budget literal": "… weighed by the mean score itself",
    "budget fisher": "`lrp-budget`, Fisher information",
    "budget sqnr": "`lrp-budget`, noise at the layer's output",
    "budget equal": "`lrp-budget`, every layer equally important",
    "budget random": "`lrp-budget`'s bits shuffled over the blocks",
}


def main() -> None:
    fill(parse(), cells, markdown)


def parse() -> argparse.Namespace:
    parser = parser_of(__doc__, ["demo-vit"], RESULTS)
    parser.add_argument("--widths", nargs="+", type=int, default=WIDTHS)
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many shuffled tables")
    parser.add_argument("--calibration-seeds", nargs="+", type=int, default=[0], help="which pictures")
    return parser.parse_args()


def cells(bench: Bench, arguments: argparse.Namespace) -> Cells:
    for seed in arguments.calibration_seeds:
        tables = Tables(bench, seed)
        for row, bits, shuffle in wanted(arguments):
            key = f"{row} W{bits}/A{bits} calibration {seed} shuffle {shuffle}"
            yield key, partial(cell, bench, tables, seed, row, bits, shuffle)


def cell(bench: Bench, tables: Tables, seed: int, row: str, bits: int, shuffle: int) -> dict:
    recipe = vq.recipe("crl", bits, bits, bits=tables.make(row, bits, shuffle))
    return bench.cell(recipe, seed, FIGURES)


def wanted(arguments: argparse.Namespace) -> Iterator[tuple[str, int, int]]:
    """(row, bits, shuffle) of every cell."""
    for row in arguments.rows:
        for bits in arguments.widths:
            for shuffle in range(arguments.seeds if row.endswith("random") else 1):
                yield row, bits, shuffle


class Tables:
    """The tables of bits of every row, for one model and the calibration pictures of one seed."""

    def __init__(self, bench: Bench, seed: int) -> None:
        self.bench, self.seed = bench, seed
        self.model, self.images = bench.model, bench.images(seed)
        self._scores: dict[str, vq.Importance] = {}

    def make(self, row: str, bits: int, shuffle: int) -> Table:
        policy, _, how = row.partition(" ")
        if row == "crl":
            return {}
        if row in ("first block", "first two blocks"):
            return self._paper("relevance", bits, first_blocks=1 + ("two" in row), reductions=False)
        if how == "random":
            return shuffled(self.make(policy, bits, 0), shuffle)
        if policy == "lrp":
            first_blocks = 1 if how == "first block" else 2
            return self._paper(self._source(how), bits, first_blocks=first_blocks)
        return vq.allocate_bits(
            self._importance(self._source(how)), self.model, policy="budget", images=self.images,
            avg_weight_bits=bits, avg_act_bits=bits,
        )  # fmt: skip

    @staticmethod
    def _source(how: str) -> str:
        return how if how in ("fisher", "sqnr", "equal", "literal", "1024") else "relevance"

    def _paper(self, source: str, bits: int, **options) -> Table:
        scores = self._importance(source)
        return vq.allocate_bits(scores, self.model, policy="paper", base_bits=bits, **options)

    def _importance(self, source: str) -> vq.Importance | dict[str, float]:
        if source not in self._scores:
            self._scores[source] = self._scored(source)
        return self._scores[source]

    def _scored(self, source: str) -> vq.Importance | dict[str, float]:
        if source == "literal":
            return self._importance("relevance").layer_scores
        if source == "equal":
            return dict.fromkeys(self._importance("relevance").layer_scores, 1.0)
        if source == "1024":
            return vq.importance(self.model, self.bench.images(10 + self.seed, MANY), "relevance")
        return vq.importance(self.model, self.images, source)


def shuffled(table: Table, seed: int) -> Table:
    """The same bits, each layer type's dealt out to other blocks: averages stay where blocks are equal."""
    rng, mixed = random.Random(seed), dict(table)
    types: dict[str, list[str]] = {}
    for name in table:
        if name.startswith("blocks."):
            types.setdefault(name.split(".", 2)[2], []).append(name)
    for names in types.values():
        dealt = rng.sample([table[name] for name in names], len(names))
        mixed |= dict(zip(names, dealt, strict=True))
    return mixed


def markdown(results: dict) -> str:
    return "\n\n".join(table(model_id, cells) for model_id, cells in sorted(results.items()))


def table(model_id: str, cells: dict) -> str:
    base = cells["float"]
    lines = [
        f"**{model_id}**: full precision {base['top1']:.1%} of {base['n']:,} held-out pictures",
        "",
        "| bits | " + " | ".join(f"W{w}/A{w} | averages, GBOP" for w in WIDTHS) + " |",
        "|---|" + "---|---|" * len(WIDTHS),
    ]
    for row, title in ROWS.items():
        found = [[c for key, c in cells.items() if key.startswith(f"{row} W{w}/A{w} cal")] for w in WIDTHS]
        if any(found):
            lines.append(f"| {title} | " + " | ".join(describe(group) for group in found) + " |")
    return "\n".join(lines)


def describe(cells: list[dict]) -> str:
    """Top-1 in percent, mean ± deviation where there are several tables, and what the bits come to."""
    if not cells:
        return " | "
    top1 = [100 * cell["top1"] for cell in cells]
    deviation = f" ± {statistics.stdev(top1):.1f} ({len(top1)})" if len(top1) > 1 else ""
    weight, act, gbops = (
        statistics.mean(cell[name] for cell in cells) for name in ("avg_weight_bits", "avg_act_bits", "gbops")
    )
    return f"{statistics.mean(top1):.1f}{deviation} | {weight:.2f} / {act:.2f}, {gbops:.2f}"


if __name__ == "__main__":
    main()
