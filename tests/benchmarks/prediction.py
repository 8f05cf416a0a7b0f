"""How far the studio's predictions of lost points are off, over stored runs; written to docs/prediction.json.

    python -m tests.benchmarks.prediction --models demo-vit demo-vit-outliers

Each run is predicted from the others of its model that were judged by the same pictures, as on the page. The
runs are those in VITQ_HOME and those that come with the studio; with ``--make`` those that a sweep makes are
made first where they are missing: 8 to 2 bits everywhere, and bits by the budget between.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ui.explaining.affording import METHOD, prediction_for
from ui.explaining.scoring import Scoring
from ui.parts.settings import RunSettings
from ui.parts.visitors import EVERYBODY
from ui.tradeoffs.afford_section import learned_from
from ui.tradeoffs.points import comparable, points_of
from ui.workbench import Workbench, planned
from vitq_core.experiment.runs.prediction import FEWEST

from .markdown import table

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "prediction.json"
MODELS = ("demo-vit", "cifar10-vit")
EVENLY, BETWEEN = (8, 6, 5, 4, 3, 2), (2.25, 2.5, 3.5, 4.5)
JUDGED = 1024


def make(bench: Workbench, model: str) -> None:
    """What is missing of the runs."""
    for bits in EVENLY:
        _made(bench, RunSettings(model, METHOD, bits, bits, held_out=JUDGED))
    for bits in BETWEEN:
        found = bench.affording.within(Scoring(model), bits)
        rows = tuple((layer, *each) for layer, each in found.table.items())
        _made(bench, RunSettings(model, METHOD, held_out=JUDGED, table=rows))


def _made(bench: Workbench, settings: RunSettings) -> None:
    bench.make(json.loads(json.dumps(planned(settings))), EVERYBODY)  # as a sweep keeps it


def measured(bench: Workbench, model: str) -> dict:
    """{runs, lost, off}: points that each run lost, and how far its prediction was off, on average."""
    points = comparable(points_of(bench.runs_of(EVERYBODY), model))
    runs = learned_from(points)
    prediction = prediction_for(bench.affording.measure(Scoring(model)), runs)
    off = None if prediction is None else prediction.error
    judged = points[0].record.asked.judged if points else 0
    return {"runs": len(runs), "lost": sorted(lost for _, lost in runs), "off": off, "judged": judged}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--make", action="store_true")
    options = parser.parse_args()
    bench, found = Workbench(), {}
    for model in options.models:
        bench.affording.measure(Scoring(model))
        if options.make:
            make(bench, model)
        found[model] = measured(bench, model)
        print(model, found[model], flush=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    print(page(found))


def page(found: dict) -> str:
    """A row for each model."""
    rows = []
    for model, row in found.items():
        off = f"fewer than {FEWEST} runs" if row["off"] is None else f"{row['off']:.2f} points"
        span = f"{min(row['lost']):.1f} to {max(row['lost']):.1f}" if row["lost"] else "—"
        rows.append([model, str(row["runs"]), span, off])
    return table(["model", "runs", "points they lost", "predictions were off by, on average"], rows)


if __name__ == "__main__":
    main()
