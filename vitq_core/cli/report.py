"""What a run came to, for people and for programs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from vitq_core.experiment.runs import RunRecord, quality_of

from .output import facts

# Of each measure: what people call it, and whether it is a share.
WORDS = {
    "top1": ("right answers", True),
    "top5": ("right among the first five", True),
    "agreement": ("same answers as in full precision", True),
    "kl": ("divergence of the answers (nats)", False),
    "cosine": ("cosine of the features", False),
    "token_cosine": ("cosine of the patches", False),
    "min_cosine": ("least cosine of a patch", False),
    "class_token_cosine": ("cosine of the class token", False),
    "click_iou": ("IoU from a click", False),
    "box_iou": ("IoU from a box", False),
    "three_clicks_iou": ("IoU from three clicks", False),
    "best_of_three_iou": ("IoU of the best of three", False),
    "box_agreement": ("agreement from a box", False),
    "click_agreement": ("agreement from a click", False),
}


def document(record: RunRecord) -> dict[str, Any]:
    """JSON-ready: everything that is kept of a run, and not what only the studio needs."""
    asked = record.asked
    recipe = {
        "recipe": asked.recipe.name,
        "weight_bits": asked.recipe.weight_bits,
        "act_bits": asked.recipe.act_bits,
    }
    pictures = {"pictures": asked.pictures, "places": list(asked.places)}
    counts = {"calibration": asked.calibration, "judged": asked.judged, "seed": asked.seed}
    return {
        "run": record.id, "name": record.name, "model": record.model, "task": record.task, **recipe, **counts,
        **pictures, "results": dict(record.results), "seconds": dict(record.seconds), "made": record.made,
        "made_of": dict(record.made_of),
    }  # fmt: skip


def text(record: RunRecord) -> str:
    results = record.results
    size, full = results["size_mb"], results["fp32_size_mb"]
    rows = [
        ("size", f"{size:.3g} MB of {full:.3g} MB ({100 * size / full:.0f} %)"),
        (
            "arithmetic per picture",
            f"{results['gbops']:.4g} of {results['fp32_gbops']:.4g} billion bit operations",
        ),
        (
            "average bits",
            f"weights {results['avg_weight_bits']:.2f}, activations {results['avg_act_bits']:.2f}",
        ),
        *_measured(results),
        ("judged on", f"{_counted(results)}"),
        ("seconds", f"{record.seconds['all']:.1f}"),
        ("run", record.id),
    ]
    return f"{record.name}\n{facts(rows)}"


def _measured(results: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    full = results.get("full", {})
    for name, (words, share) in WORDS.items():
        if name in results.get("quantized", {}):
            value, error = results["quantized"][name]
            said = _number(value, share) + (f" ± {_number(1.96 * error, share)}" if error is not None else "")
            yield words, said + (f" (full precision {_number(full[name][0], share)})" if name in full else "")


def _number(value: float, share: bool) -> str:
    return f"{100 * value:.1f} %" if share else f"{value:.4f}"


def _counted(results: Mapping[str, Any]) -> str:
    found = results.get("quantized", {})
    if "n" in found:
        return f"{found['n']} held-out pictures"
    return f"{found.get('objects', 0)} objects of {found.get('pictures', 0)} pictures"


def evaluation_rows(evaluation: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Of what `vq.evaluate` measured, or of [mean, standard error] of each measure."""
    found = {name: evaluation.get(name) for name in WORDS}
    values = {name: each[0] if isinstance(each, (list, tuple)) else each for name, each in found.items()}
    rows = [
        (WORDS[name][0], _number(value, WORDS[name][1]))
        for name, value in values.items()
        if value is not None
    ]
    counts = {
        "pictures": evaluation.get("n", evaluation.get("pictures")),
        "objects": evaluation.get("objects"),
    }
    return [*rows, *((name, str(count)) for name, count in counts.items() if count is not None)]


HEADS = ("run", "made", "name", "quality", "lost", "MB", "of MB", "seconds")


def row(record: RunRecord) -> tuple[Any, ...]:
    """A run as a line of a table: `lost` in points, hundredths of a share."""
    quality, results = quality_of(record.task, record.results), record.results
    made = time.strftime("%Y-%m-%d %H:%M", time.gmtime(record.made))
    good = (None, None) if quality is None else (f"{quality.value:.4f}", f"{quality.lost:.2f}")
    sizes = (f"{results['size_mb']:.2f}", f"{results['fp32_size_mb']:.2f}")
    return (record.id, made, record.name, *good, *sizes, f"{record.seconds['all']:.1f}")
