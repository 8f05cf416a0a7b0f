"""What came out of a run as plain numbers, and which of them says how good it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any

from ...quantized.result import QuantizeResult
from ...tasks import Evaluation

SIZES = (
    "size_mb", "fp32_size_mb", "gbops", "fp32_gbops", "avg_weight_bits", "avg_act_bits", "effective_act_bits",
)  # fmt: skip
BITS = "bits"
COUNTS = ("n", "labelled")
SHARES = ("top1", "top5", "agreement")
# Of each task the measures of quality, the first that is there: (name, what people call it).
QUALITY = {
    "classification": (("top1", "Right answers"), ("agreement", "Same answers")),
    "features": (("cosine", "Cosine"),),
    "segmentation": (("box_iou", "IoU from a box"), ("click_iou", "IoU from a click")),
}


def results_of(result: QuantizeResult, measured: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """JSON-ready. `measured`: {model: {measure: [value, standard error or None], …}}."""
    bits = {layer: list(pair) for layer, pair in result.bits.items()}
    return {**{name: getattr(result.report, name) for name in SIZES}, BITS: bits, **measured}


def measures_of(evaluation: Evaluation) -> dict[str, Any]:
    """{measure: [value, standard error or None]}, and `n`, what was counted."""
    found: dict[str, Any] = {"n": evaluation.n}
    for name, value in evaluation.items():
        if name not in COUNTS and value is not None:
            error = sqrt(value * (1 - value) / evaluation.n) if name in SHARES else None
            found[name] = [value, error]
    return found


@dataclass(frozen=True)
class Quality:
    """How good a run's quantized model is: `value`, with its standard `error` where that is known; `full` is
    full precision's, or what a model that answers alike would have.
    """

    name: str
    title: str
    value: float
    error: float | None
    full: float

    @property
    def lost(self) -> float:
        """In points, hundredths of a share."""
        return 100 * (self.full - self.value)


def quality_of(task: str, results: Mapping[str, Any]) -> Quality | None:
    """None where nothing of it was measured."""
    for name, title in QUALITY.get(task, ()):
        if name in results.get("quantized", {}):
            value, error = results["quantized"][name]
            full, _ = results.get("full", {}).get(name, (1.0, None))
            return Quality(name, title, value, error, full)
    return None
