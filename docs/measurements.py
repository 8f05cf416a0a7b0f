"""`python docs/measurements.py` writes docs/measurements.md and the README's table from the JSON files here.

In docs/measurements.template `[[name]]` stands for what `TABLES` or `FIGURES` here make of a file.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT))  # as a script, only docs/ is on the path

from tests.benchmarks import (  # noqa: E402
    accuracy,
    block_deletion,
    deletion,
    error_sources,
    features,
    features_ablation,
    memory,
    mixed_precision,
    mutation,
    reconstruction,
    side_by_side,
    speed_ratios,
)
from tests.benchmarks.markdown import numbers, signed, table  # noqa: E402

MARKED = re.compile(r"(<!-- features -->\n).*?(<!-- end -->)", re.DOTALL)
CELL = re.compile(r"(?P<row>.+) W\d+/A\d+ (?:seed|calibration) (?P<seed>\d+)")
FORMER = {  # rows of decisions.json that today's tables no longer have
    "no-crl": "without CRL: one scale per layer",
    "no-choice": "without the choice among quantizers at each site",
    "no-drop": "without QDrop",
    "rotated": "with the rotation of queries, keys and values",
}

TEMPLATE = (DOCS / "measurements.template").read_text("utf-8")


def page() -> str:
    """The whole of docs/measurements.md."""
    return re.sub(r"\[\[(\w+)\]\]", lambda found: (TABLES | FIGURES)[found[1]](), TEMPLATE)


def readme(text: str) -> str:
    """`text` with the README's table between its marks."""
    return MARKED.sub(lambda found: f"{found[1]}{features.readme(stored('features'))}\n{found[2]}", text)


def stored(name: str) -> dict | list:
    return json.loads((DOCS / f"{name}.json").read_text())


def if_stored(name: str, shown: Callable[[dict], str]) -> str:
    """What ``shown`` makes of a file that need not be there."""
    return shown(stored(name)) if (DOCS / f"{name}.json").exists() else "Not measured for this version."


def by_model(name: str, table: Callable[[str, dict], str]) -> str:
    """A table for every model of a file, each with the seeds it was measured with."""
    models = sorted(stored(name).items())
    return "\n\n".join(f"{table(model, cells)}\n\n{seeds_of(cells)}" for model, cells in models)


def seeds_of(cells: Mapping[str, Mapping]) -> str:
    """The calibration seeds of a model's cells, and how many cells there are."""
    found = [match["seed"] for key in cells if (match := CELL.match(key))]
    return f"Calibration seeds: {numbers(int(seed) for seed in found)}; cells: {len(found)}."


def of_reconstruction(name: str) -> str:
    return by_model(name, lambda model, cells: reconstruction.markdown({model: cells}, name))


def decisions() -> str:
    """Top-1 (agreement) and divergence of every row at the older commits."""
    parts = []
    for title, models in stored("decisions").items():
        parts.append(f"### {title[0].upper()}{title[1:]}")
        parts += [f"{_former(model, cells)}\n\n{seeds_of(cells)}" for model, cells in models.items()]
    return "\n\n".join(parts)


def _former(model: str, cells: Mapping[str, Mapping]) -> str:
    rows: dict[str, dict[str, list[Mapping]]] = {}
    for key, cell in cells.items():
        if match := CELL.match(key):
            rows.setdefault(match["row"], {}).setdefault(key.split()[1], []).append(cell)
    widths = sorted({width for found in rows.values() for width in found}, reverse=True)
    base = cells["float"]
    titles = {name: row.title for name, row in reconstruction.ABLATION.items()} | FORMER
    lines = [
        f"**{model}**: full precision {base['top1']:.1%} of {base['n']:,} held-out pictures",
        "",
        "| | " + " | ".join(f"{width} | KL" for width in widths) + " |",
        "|---|" + "---|---|" * len(widths),
    ]
    for name in sorted(rows, key=list(titles).index):
        shown = [
            f"{reconstruction.accuracy(found)} | {reconstruction.divergence(found)}" if found else " | "
            for found in (rows[name].get(width, []) for width in widths)
        ]
        lines.append(f"| {titles[name]} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def changes() -> str:
    """A row for each part, a column for each commit: the KL's change, in how many runs it is higher."""
    commits = {title: shifts(models) for title, models in stored("decisions").items()}
    titles = {name: row.title for name, row in reconstruction.ABLATION.items()} | FORMER
    names = [name for name in titles if any(name in found for found in commits.values())]
    heads = [
        title.replace("ablation", "learned").replace("calibrating", "calibrated alone") for title in commits
    ]
    rows = [[titles[name], *(_range(found.get(name, [])) for found in commits.values())] for name in names]
    return table(["", *heads], rows)


def shifts(models: Mapping[str, Mapping]) -> dict[str, list[float]]:
    """{row: percent by which its KL is above that of `vitq`, one for each model, width and seed}."""
    found: dict[str, list[float]] = {}
    for cells in models.values():
        for key, cell in cells.items():
            row, _, of = key.partition(" ")
            if row != "all" and f"all {of}" in cells:
                found.setdefault(row, []).append(100 * (cell["kl"] / cells[f"all {of}"]["kl"] - 1))
    return found


def _range(percents: Sequence[float]) -> str:
    if not percents:
        return ""
    if len(percents) == 1:
        return f"{signed(percents[0])} (1 run)"
    higher = sum(percent > 0 for percent in percents)
    return f"{signed(min(percents))} to {signed(max(percents))}; higher in {higher} of {len(percents)} runs"


SINGLE_RUNS = {
    "error_sources": error_sources,
    "deletion": deletion,
    "blocks": block_deletion,
    "side_by_side": side_by_side,
    "speed": speed_ratios,
    "memory": memory,
    "mutation": mutation,
}
TABLES: dict[str, Callable[[], str]] = {
    "features": lambda: features.page(stored("features")),
    "features_ablation": lambda: features_ablation.page(stored("features_ablation")),
    "accuracy": lambda: by_model("accuracy", accuracy.table),
    "mixed_precision": lambda: by_model("mixed_precision", mixed_precision.table),
    "reconstruction": lambda: of_reconstruction("reconstruction"),
    "ablation": lambda: of_reconstruction("ablation"),
    "quick": lambda: of_reconstruction("quick"),
    "decisions": decisions,
    **{name: partial(if_stored, name, benchmark.page) for name, benchmark in SINGLE_RUNS.items()},
}
FIGURES: dict[str, Callable[[], str]] = {  # in sentences, and tables made of a file that has another one
    "changes": changes,
    "adfq_bits": lambda: "{effective_act_bits:.2f}".format(
        **stored("accuracy")["demo-vit-outliers"]["adfq W4/A4 seed 0"]
    ),
}


if __name__ == "__main__":
    (DOCS / "measurements.md").write_text(page(), encoding="utf-8")
    (ROOT / "README.md").write_text(readme((ROOT / "README.md").read_text("utf-8")), encoding="utf-8")
