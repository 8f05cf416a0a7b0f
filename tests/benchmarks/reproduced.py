"""The ablations of LRP-QViT by `vitq reproduce`, on models that are here, written to docs/reproduced.json.

    python -m tests.benchmarks.reproduced --models demo-vit demo-vit-outliers
    python -m tests.benchmarks.reproduced --models cifar10-vit --data cifar10.zip

Tables 3 (inputs behind a LayerNorm), 4 (a bit more for the first blocks) and 5 (and a bit less for the least
relevant layers), W4/A4. Models that are there already keep their place; `vitq` itself keeps every cell.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from vitq_core.experiment.reproduce import TABLES as PAPERS

from .cells import save
from .markdown import table

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "reproduced.json"
TABLES = ("3", "4", "5")
PICTURES, CALIBRATION = 1000, 32


def main() -> None:
    arguments = parse()
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in TABLES:
        kept = found.setdefault(name, {})
        for model in arguments.models:
            kept[model] = reproduced(name, model, arguments.data)
            save(found, RESULTS)
    print(page(found))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=["demo-vit", "demo-vit-outliers"])
    parser.add_argument("--data", help="for models trained on photographs")
    return parser.parse_args()


def reproduced(name: str, model: str, data: str | None) -> dict:
    """{row: {"top1", "agreement"}}, both in percent."""
    command = ["reproduce", "--table", name, "--models", model, "--limit", str(PICTURES), "--json"]
    places = [] if data is None else ["--data", data]
    done = subprocess.run(
        [sys.executable, "-m", "vitq_core", *command, "--calibration", str(CALIBRATION), *places],
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    cells = json.loads(done.stdout)["cells"]
    return {
        cell["method"]: {"top1": cell["top1"], "agreement": 100 * cell["result"]["agreement"]}
        for cell in cells
        if cell["result"]["agreement"] is not None  # which full precision has not
    }


def page(found: Mapping[str, Mapping]) -> str:
    """Top-1 in percent: a row for each way, a column for each model."""
    models = sorted({model for kept in found.values() for model in kept})
    published = _published()
    rows = [
        [name, method, f"{number:.2f}", *(_cell(found[name].get(model), method) for model in models)]
        for name in TABLES
        if name in found
        for method, number in published[name].items()
    ]
    return table(["table", "scales or bits", "DeiT-S, published", *models], rows)


def _published() -> dict[str, dict[str, float]]:
    return {name: {row.title: row.published["DeiT-S"] for row in PAPERS[name].rows} for name in TABLES}


def _cell(measured: Mapping | None, method: str) -> str:
    return "" if measured is None else f"{measured[method]['top1']:.1f} ({measured[method]['agreement']:.1f})"


if __name__ == "__main__":
    main()
