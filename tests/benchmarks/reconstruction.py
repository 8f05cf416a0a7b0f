"""What reconstruction gives, and the ablation of ``vitq``: a row for each part left out or added.

    python -m tests.benchmarks.reconstruction --models cifar10-vit --data cifar10.zip --seeds 0 1 2
    python -m tests.benchmarks.reconstruction --models demo-vit --seeds 0 1 2
    python -m tests.benchmarks.reconstruction --table ablation_calibrated --limit 2000 …
    python -m tests.benchmarks.reconstruction --table ablation_learned --calibration 128 --limit 2000 …
    python -m tests.benchmarks.reconstruction --print

All rows of a seed are calibrated, and reconstructed, on the same pictures.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn

import vitq_core as vq
from vitq_core.quantized.report import RECONSTRUCTED
from vitq_core.recipes.recipe import RECIPES, Recipe, Use

from .cells import Bench, Cells, described, fill, parser_of, width
from .norm_ablation import residual_rotated, smoothed
from .relu_ablation import with_relu

DOCS = Path(__file__).parents[2] / "docs"
WIDTHS = ((4, 4), (3, 3), (2, 4))
FIGURES = ("avg_weight_bits", "effective_act_bits", "gbops", "seconds")
PICTURES = 512  # as many as the standard effort learns from
ALWAYS = {"effort", "reconstruction"}  # options that no pass or quantizer owns
Change = Callable[[Recipe], Recipe]
Prepare = Callable[[nn.Module, Tensor], nn.Module]  # (module, calibration pictures) → the one to quantize


def settings(**changes: object) -> Change:
    """Other settings of the reconstruction."""

    def change(recipe: Recipe) -> Recipe:
        merged = {**recipe.options.reconstruction, **changes}
        return replace(recipe, options=vq.Options(**{**recipe.options, "reconstruction": merged}))

    return change


def options(**changes: object) -> Change:
    return lambda recipe: replace(recipe, options=vq.Options(**{**recipe.options, **changes}))


def without(step: str) -> Change:
    """Without a pass, and without what was set for it alone."""

    def change(recipe: Recipe) -> Recipe:
        left = replace(recipe, passes=tuple(name for name in recipe.passes if name != step))
        owned = {name: value for name, value in left.options.items() if name in ALWAYS | left.applies}
        return replace(left, options=vq.Options(**owned))

    return change


def after(known: str, step: str) -> Change:
    """With a pass ``step`` behind one that the recipe has."""

    def change(recipe: Recipe) -> Recipe:
        place = recipe.passes.index(known) + 1
        return replace(recipe, passes=(*recipe.passes[:place], step, *recipe.passes[place:]))

    return change


def both(one: Change, other: Change) -> Change:
    return lambda recipe: other(one(recipe))


def rules(**uses: Use) -> Change:
    """Other quantizers for these roles (``weight``: every weight)."""

    def change(recipe: Recipe) -> Recipe:
        named = {"*:weight" if role == "weight" else role: use for role, use in uses.items()}
        known = {role: use for role, use in recipe.rules.items() if role not in named}
        return replace(recipe, rules={**named, **known})  # a recipe's "*" comes last, or it would hide them

    return change


def same(recipe: Recipe) -> Recipe:
    return recipe


class Row(NamedTuple):
    title: str  # what the page calls it
    recipe: str
    change: Change = same
    prepare: Prepare | None = None


MAIN = {
    "repq": Row("`repq`", "repq"),
    "crl": Row("`crl`", "crl"),
    "lrp-budget": Row("`lrp-budget`", "lrp-budget"),
    "adfq-calibrated": Row("`adfq` without reconstruction", "adfq", options(effort="none")),
    "adfq": Row("`adfq`", "adfq"),
    "vitq-calibrated": Row("`vitq` without reconstruction", "vitq", options(effort="none")),
    "vitq": Row("`vitq`", "vitq"),
}
ONE_SCALE = rules(post_layernorm=Use("uniform", {"range": "least_error"}))
ABLATION = {
    "all": Row("`vitq`", "vitq"),
    "no-centring": Row("without centring keys and values", "vitq", without("centre_heads")),
    "no-rotation": Row("without the rotation of queries, keys and values", "vitq", without("rotate_heads")),
    "equal-bits": Row("without the budget policy: equal bits", "vitq", without("allocate_budget")),
    "fixed-base": Row(
        "with log bases of √2 in place of fitted ones",
        "vitq",
        rules(post_softmax=Use("log_sqrt2"), post_gelu=Use("shift_log2")),
    ),
    "one-by-one": Row(
        "with log scales and bases searched one after the other",
        "vitq",
        rules(
            post_softmax=Use("log_sqrt2", {"base": "fitted", "range": "least_error"}),
            post_gelu=Use("shift_log2", {"base": "fitted", "range": "least_error"}),
        ),
    ),
    "uniform-gelu": Row("with a uniform quantizer after GELU", "vitq", rules(post_gelu=Use("uniform"))),
    "percentiles": Row(
        "with percentile ranges for weights, not those of least error",
        "vitq",
        rules(weight=Use("uniform", {"axis": 0})),
    ),
    "no-compensation": Row("without making weights up for rounding", "vitq", without("compensate")),
    "no-comparison": Row("without comparing its stages", "vitq", without("compare_stages")),
    "uniform-softmax": Row(
        "with a uniform quantizer after softmax",
        "vitq",
        rules(post_softmax=Use("uniform", {"range": "least_error"})),
    ),
    "residual-rotation": Row("tried: the residual stream rotated", "vitq", prepare=residual_rotated),
    "one-scale": Row("tried: one scale per layer after LayerNorm", "vitq", ONE_SCALE),
    "one-scale-rotated": Row(
        "… and the residual stream rotated", "vitq", ONE_SCALE, prepare=residual_rotated
    ),
    "smoothing": Row("tried: smoothing between norm and linear layer", "vitq", prepare=smoothed),
    "kept-outliers": Row(
        "tried: ADFQ-ViT's quantizer after LayerNorm, with kept outliers",
        "vitq",
        rules(post_layernorm=RECIPES["adfq"].rules["post_layernorm"]),
    ),
    "scaled-averages": Row(
        "tried: a scale for each channel of the averaged values",
        "vitq",
        rules(attention_output=Use("uniform", {"axis": -1, "range": "least_error"})),
    ),
    "no-rescaling": Row(
        "without moving spread between channels into weights", "vitq", without("reparameterize_judged")
    ),
    "crl": Row(
        "tried: CRL at every norm",
        "vitq",
        both(without("reparameterize_judged"), after("calibrate", "reparameterize_clip")),
    ),
    "modules": Row("attentions and MLPs in place of blocks", "vitq", settings(blocks=False)),
    "no-affine": Row("without learning biases and norms", "vitq", settings(affine_lr=None)),
    "no-weight-scales": Row("without learning the weights' scales", "vitq", settings(weight_scales=False)),
    "finish": Row("with the last stage at every width", "vitq", settings(finish_bits=None)),
    "no-finish": Row("without the last stage on the whole model", "vitq", settings(finish=0)),
    "calibrated": Row("without reconstruction", "vitq", options(effort="none")),
    "fisher-error": Row("tried: errors weighed by Fisher information", "vitq", settings(weighting="fisher")),
    "drop": Row("tried: QDrop", "vitq", settings(drop=0.5)),
    "attention-kl": Row("tried: ADFQ-ViT's attention term", "vitq", settings(kl_lambda=0.1)),
    "relu": Row("tried: ReLU in place of GELU, the MLPs relearned", "vitq", prepare=with_relu),
    "relevance-bits": Row("tried: bits by relevance", "vitq", options(importance="relevance")),
}
CALIBRATED, QUICK = options(effort="none"), options(effort="quick")


def learned_as(effort: Change, *names: str) -> dict[str, Row]:
    """These rows of the ablation, with another effort than the standard one."""
    return {name: ABLATION[name]._replace(change=both(ABLATION[name].change, effort)) for name in names}


# What the parts of calibrating are worth where nothing is learned: minutes, so on many seeds.
CALIBRATING = learned_as(
    CALIBRATED,
    *("all", "no-centring", "no-rotation", "equal-bits", "relevance-bits"),
    *("fixed-base", "one-by-one", "uniform-gelu", "uniform-softmax", "percentiles"),
    *("no-compensation", "no-comparison", "residual-rotation", "one-scale", "one-scale-rotated"),
    *("smoothing", "kept-outliers", "scaled-averages", "no-rescaling", "crl"),
)
# What they are worth after learning, and the parts of learning itself. `finish` says nothing at 2-bit
# weights, where the quick effort has a last stage, and `no-finish` nothing above.
LEARNING = {**learned_as(QUICK, *ABLATION), "calibrated": ABLATION["calibrated"]}
TABLES = {
    "reconstruction": MAIN,
    "ablation_calibrated": CALIBRATING,
    "ablation_learned": LEARNING,
}


def main() -> None:
    arguments = parse()
    fill(arguments, cells, lambda results: markdown(results, arguments.table))


def parse() -> argparse.Namespace:
    parser = parser_of(__doc__, ["demo-vit"], None)
    parser.set_defaults(calibration=PICTURES)
    parser.add_argument("--table", choices=list(TABLES), default="reconstruction")
    parser.add_argument("--rows", nargs="+", help="some rows of the table; default: all")
    parser.add_argument("--widths", nargs="+", type=width, default=WIDTHS, help="4: W4/A4, 2/4: W2/A4")
    parser.add_argument(
        "--seeds", nargs="+", type=int, default=[0], help="which pictures, and the run's seed"
    )
    arguments = parser.parse_args()
    arguments.results = arguments.results or DOCS / f"{arguments.table}.json"
    unknown = sorted(set(arguments.rows or ()) - set(TABLES[arguments.table]))
    if unknown:
        parser.error(f"no row {unknown[0]!r}; there are: {', '.join(TABLES[arguments.table])}")
    return arguments


def cells(bench: Bench, arguments: argparse.Namespace) -> Cells:
    rows = arguments.rows or TABLES[arguments.table]
    for seed, bits, name in product(arguments.seeds, arguments.widths, rows):
        row = TABLES[arguments.table][name]
        yield f"{name} W{bits[0]}/A{bits[1]} seed {seed}", partial(cell, bench, row, bits, seed)


def cell(bench: Bench, row: Row, bits: tuple[int, int], seed: int) -> dict:
    module = row.prepare(bench.model.module, bench.images(seed)) if row.prepare else None
    found = bench.run(row.change(vq.recipe(row.recipe, *bits)), seed, module)
    units = found.result.report.units
    kept = sum(unit.outcome != RECONSTRUCTED for unit in units)
    return {**described(found, FIGURES), "kept_calibrated": kept, "units": len(units)}


def markdown(results: dict, table: str) -> str:
    return "\n\n".join(_table(model_id, cells, table) for model_id, cells in sorted(results.items()))


def _table(model_id: str, cells: dict, table: str) -> str:
    base, (detail, tell) = cells["float"], DETAILS[table]
    names = [f"W{weight}/A{act}" for weight, act in WIDTHS if f" W{weight}/A{act} " in " ".join(cells)]
    lines = [
        f"**{model_id}**: full precision {base['top1']:.1%} of {base['n']:,} held-out pictures",
        "",
        "| | " + " | ".join(f"{name} | {detail}" for name in names) + " |",
        "|---|" + "---|" * 2 * len(names),
    ]
    for row, (title, *_) in TABLES[table].items():
        found = [[c for key, c in cells.items() if key.startswith(f"{row} {name} ")] for name in names]
        if any(found):
            columns = [f"{accuracy(each)} | {tell(each)}" if each else " | " for each in found]
            lines.append(f"| {title} | " + " | ".join(columns) + " |")
    return "\n".join(lines)


def accuracy(cells: list[dict]) -> str:
    """``top-1 ± deviation (agreement)``, in percent, means over the seeds."""
    top1, agreement = ([100 * cell[name] for cell in cells] for name in ("top1", "agreement"))
    return f"{spread_of(top1, 1)} ({statistics.mean(agreement):.1f})"


def bits(cells: list[dict]) -> str:
    """Weights' / activations', kept outliers counted in, means over the seeds."""
    return " / ".join(
        f"{statistics.mean(cell[name] for cell in cells):.2f}"
        for name in ("avg_weight_bits", "effective_act_bits")
    )


def divergence(cells: list[dict]) -> str:
    """Of the answers from those in full precision, thousandths of a nat."""
    return spread_of([1000 * cell["kl"] for cell in cells], 1)


def spread_of(values: list[float], digits: int) -> str:
    """``mean ± deviation``."""
    deviation = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{deviation}"


DETAILS = {
    "reconstruction": ("bits", bits),
    "ablation_calibrated": ("KL", divergence),
    "ablation_learned": ("KL", divergence),
}


if __name__ == "__main__":
    main()
