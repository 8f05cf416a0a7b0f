"""The head of a model card, by which the Hugging Face hub finds and sorts models."""

from __future__ import annotations

import re
from collections.abc import Sequence

from huggingface_hub import EvalResult, ModelCardData

from ..exporters.base import Exporter
from ..quantized.result import QuantizeResult
from .figures import Figure

PIPELINES = {
    "classification": "image-classification",
    "features": "image-feature-extraction",
    "segmentation": "mask-generation",
}
QUANTIZED = "quantized"
UNNAMED = "unknown"  # of a data set that is none of the hub's
LICENCE = re.compile(r"[a-z0-9][a-z0-9.\-]*")


def metadata(
    result: QuantizeResult,
    exporter: Exporter,
    name: str,
    figures: Sequence[Figure],
    licence: str | None,
    base_model: str | None,
    datasets: Sequence[str],
    tested_on: str,
) -> ModelCardData:
    """``name``: of the model, for people; ``base_model``: a repository of the hub."""
    task = result.model.vitq.prepared.task.name
    related = {} if base_model is None else {"base_model_relation": QUANTIZED}
    found = [_result(figure, task, datasets, tested_on) for figure in figures if figure.measure.kind]
    return ModelCardData(
        **_licence(licence),
        base_model=base_model,
        datasets=list(datasets) or None,
        pipeline_tag=PIPELINES[task],
        library_name=exporter.library,
        tags=["vitq", QUANTIZED, "vision-transformer", exporter.name, result.recipe.name],
        model_name=name,
        eval_results=found or None,
        **related,
    )


def _licence(licence: str | None) -> dict[str, str]:
    """The hub takes short names alone; what is none is another licence, called so."""
    if licence is None:
        return {}
    if LICENCE.fullmatch(licence):
        return {"license": licence}
    return {"license": "other", "license_name": re.sub(r"[^a-z0-9.]+", "-", licence.lower()).strip("-")}


def _result(figure: Figure, task: str, datasets: Sequence[str], tested_on: str) -> EvalResult:
    return EvalResult(
        task_type=PIPELINES[task],
        dataset_type=datasets[0] if datasets else UNNAMED,
        dataset_name=tested_on or (datasets[0] if datasets else "test pictures"),
        dataset_args={figure.measure.noun: figure.count},
        metric_type=figure.measure.kind,
        metric_value=round(figure.value, 6),
        metric_name=f"{figure.measure.title}, on {figure.of}",
    )
