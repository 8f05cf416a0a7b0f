"""What each part of ``vitq`` is worth on a real ViT, calibrated alone, and what each kind of tensor costs.

The first are rows of the other ablation; a kind of tensor has 8 bits in its row. All but the first two have
equal bits and no comparison: it would only undo the budget's bits, which takes half of the time.

    python -m tests.benchmarks.features_ablation --weights FILE.safetensors --data PICTURES.zip

``--weights``, ``--data``: as of `features`. Rows that are in ``--out`` are not measured again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import vitq_core as vq
from vitq_core.recipes.recipe import Recipe

from .cells import stacked
from .features import PAGE_COLUMNS, PICTURES, Bench, bits, cosines, fill, parser, width_of
from .markdown import numbers, table
from .reconstruction import CALIBRATED, CALIBRATING, Change, Row, both, rules, without

RESULTS = Path(__file__).parents[2] / "docs" / "features_ablation.json"
ANYTHING_ELSE = "*"


def at_8_bits(*roles: str) -> Change:
    """With 8 bits for these roles (``*:weight``: every weight)."""

    def change(recipe: Recipe) -> Recipe:
        uses = {role: recipe.rules.get(role, recipe.rules[ANYTHING_ELSE]) for role in roles}
        return rules(**{role: replace(use, bits=8) for role, use in uses.items()})(recipe)

    return both(change, CALIBRATED)


WIDE = {
    "wide-weights": Row("8 bits: weights", "vitq", at_8_bits("*:weight")),
    "wide-norms": Row("8 bits: what LayerNorm gives", "vitq", at_8_bits("post_layernorm")),
    "wide-gelu": Row("8 bits: what GELU gives", "vitq", at_8_bits("post_gelu")),
    "wide-attention": Row(
        "8 bits: queries, keys, values, attention",
        "vitq",
        at_8_bits("query", "key", "value", "post_softmax"),
    ),
    "wide-averages": Row("8 bits: the averaged values", "vitq", at_8_bits("attention_output")),
}
PARTS = (
    *("equal-bits", "no-centring", "no-rotation"),
    *("fixed-base", "uniform-gelu", "uniform-softmax", "percentiles"),
    *("no-compensation", "residual-rotation", "one-scale", "one-scale-rotated"),
    *("smoothing", "kept-outliers", "scaled-averages", "no-rescaling", "crl"),
)


def plain(row: Row) -> Row:
    """With equal bits and nothing to compare."""
    return row._replace(change=both(row.change, both(without("compare_stages"), without("allocate_budget"))))


ROWS = {
    **{name: CALIBRATING[name] for name in ("all", "no-comparison")},
    **{name: plain(CALIBRATING[name]) for name in PARTS},
    **{name: plain(row) for name, row in WIDE.items()},
}


def main() -> None:
    options = parser(__doc__, RESULTS)
    options.set_defaults(widths=("4/4",), seeds=[0])
    options.add_argument("--rows", nargs="*", default=list(ROWS), choices=ROWS)
    arguments = options.parse_args()
    bench = Bench(arguments.weights, arguments.data)

    def measured(key: dict) -> dict:
        row, seed = ROWS[key["row"]], key["seed"]
        pictures = stacked(bench.model, bench.source.calibration(PICTURES, seed)) if row.prepare else None
        module = row.prepare(bench.model.module, pictures) if row.prepare else None
        recipe = row.change(vq.recipe(row.recipe, key["weight_bits"], key["act_bits"]))
        return bench.cosines(recipe, seed, module)

    wanted = product(arguments.seeds, arguments.widths, arguments.rows)
    names = ("row", "weight_bits", "act_bits", "seed")
    keys = (dict(zip(names, (row, *bits(width), seed), strict=True)) for seed, width, row in wanted)
    fill(arguments.out, keys, measured)


def page(rows: Sequence[Mapping]) -> str:
    """A line for every row and width that was measured; means over seeds."""
    groups: dict[tuple[str, str], list[Mapping]] = {}
    for row in sorted(rows, key=lambda row: list(ROWS).index(row["row"])):
        groups.setdefault((row["row"], width_of(row)), []).append(row)
    lines = [
        [ROWS[name].title, width, cosines(found, PAGE_COLUMNS), numbers(row["seed"] for row in found)]
        for (name, width), found in groups.items()
    ]
    return table(["", "bits", "cosines", "seeds"], lines)


if __name__ == "__main__":
    main()
