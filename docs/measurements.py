"""`python docs/measurements.py` writes docs/measurements.md and the README's table from the JSON files here.

In docs/measurements.template `[[name]]` stands for what `TABLES` or `FIGURES` here make of a file.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT))  # as a script, only docs/ is on the path

from tests.benchmarks import (  # noqa: E402
    accuracy,
    block_deletion,
    calibration_health,
    data_free,
    deletion,
    error_sources,
    exports,
    features,
    features_ablation,
    ideas,
    large_models,
    memory,
    mixed_precision,
    mutation,
    prediction,
    processes,
    reconstruction,
    reproduced,
    sam_memory,
    search_ranges,
    segmentation,
    sessions,
    side_by_side,
    speed_ratios,
    tampered,
    timm_list,
)
from tests.benchmarks.markdown import numbers  # noqa: E402

MARKED = re.compile(r"(<!-- features -->\n).*?(<!-- end -->)", re.DOTALL)
CELL = re.compile(r"(?P<row>.+) W\d+/A\d+ (?:seed|calibration) (?P<seed>\d+)")

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


SINGLE_RUNS = {
    "error_sources": error_sources,
    "deletion": deletion,
    "blocks": block_deletion,
    "side_by_side": side_by_side,
    "speed": speed_ratios,
    "memory": memory,
    "sessions": sessions,
    "processes": processes,
    "mutation": mutation,
    "segmentation": segmentation,
    "sam_memory": sam_memory,
    "prediction": prediction,
    "data_free": data_free,
    "calibration_health": calibration_health,
    "timm_list": timm_list,
    "large_models": large_models,
    "tampered": tampered,
    "exports": exports,
    "ideas": ideas,
    "reproduced": reproduced,
    "search_ranges": search_ranges,
}
TABLES: dict[str, Callable[[], str]] = {
    "features": lambda: features.page(stored("features")),
    "features_ablation": lambda: features_ablation.page(stored("features_ablation")),
    "accuracy": lambda: by_model("accuracy", accuracy.table),
    "orders": lambda: accuracy.orders(stored("accuracy")),
    "mixed_precision": lambda: by_model("mixed_precision", mixed_precision.table),
    **{name: partial(of_reconstruction, name) for name in reconstruction.TABLES},
    **{name: partial(if_stored, name, benchmark.page) for name, benchmark in SINGLE_RUNS.items()},
}
FIGURES: dict[str, Callable[[], str]] = {  # in sentences
    "adfq_bits": lambda: "{effective_act_bits:.2f}".format(
        **stored("accuracy")["demo-vit-outliers"]["adfq W4/A4 seed 0"]
    ),
}


if __name__ == "__main__":
    (DOCS / "measurements.md").write_text(page(), encoding="utf-8")
    (ROOT / "README.md").write_text(readme((ROOT / "README.md").read_text("utf-8")), encoding="utf-8")
