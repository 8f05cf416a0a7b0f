"""Every name that `vitq_core` itself has: the public API."""

from . import recipes, scoring  # noqa: F401 - they register the recipes and what ranks layers
from .allocation import Budget, Forecast, allocate_bits, forecast_bits
from .allocation.table import TableCost, table_cost
from .common.errors import Cancelled, StorageError, VitqError
from .evaluation import Evaluation, evaluate
from .exporters.base import EXPORTERS
from .exporters.certificate import Certificate
from .exporters.export import export
from .exporters.packed import load_quantized, save_quantized
from .exporters.speed import Loading, Speed, SpeedReport, measure_speed
from .generation import generate_images
from .graph.site import Layer, NormPair, Site
from .models import (
    FileDescription,
    Model,
    ModelCard,
    ModelInfo,
    describe_file,
    list_models,
    load_model,
    model_card,
    wrap_model,
)
from .pictures.hub_pictures import fetch_pictures
from .pipeline import quantize
from .prompting import Answer, EmbeddingCache, Prompt, Segmenter, Thresholds, matched, segment_everything
from .publishing import licence_of, push_to_hub, write_model_card
from .quantized.report import Report, SiteRow, StageRow, UnitRow
from .quantized.result import QuantizeResult
from .recipes.integer import integer_form
from .recipes.recipe import RECIPES, Options, Recipe, Use, recipe
from .recipes.schedule import EFFORTS, Schedule
from .reconstruction.progress import UnitProgress
from .scoring.explanation import Relevance, relevance
from .scoring.scores import Importance
from .scoring.sources import SOURCES
from .scoring.streaming import importance

__all__ = [
    "EFFORTS",
    "EXPORTERS",
    "RECIPES",
    "SOURCES",
    "Answer",
    "Budget",
    "Cancelled",
    "Certificate",
    "EmbeddingCache",
    "Evaluation",
    "FileDescription",
    "Forecast",
    "Importance",
    "Layer",
    "Loading",
    "Model",
    "ModelCard",
    "ModelInfo",
    "NormPair",
    "Options",
    "Prompt",
    "QuantizeResult",
    "Recipe",
    "Relevance",
    "Report",
    "Schedule",
    "Segmenter",
    "Site",
    "SiteRow",
    "Speed",
    "SpeedReport",
    "StageRow",
    "StorageError",
    "TableCost",
    "Thresholds",
    "UnitProgress",
    "UnitRow",
    "Use",
    "VitqError",
    "allocate_bits",
    "describe_file",
    "evaluate",
    "export",
    "fetch_pictures",
    "forecast_bits",
    "generate_images",
    "importance",
    "integer_form",
    "licence_of",
    "list_models",
    "load_model",
    "load_quantized",
    "matched",
    "measure_speed",
    "model_card",
    "push_to_hub",
    "quantize",
    "recipe",
    "relevance",
    "save_quantized",
    "segment_everything",
    "table_cost",
    "wrap_model",
    "write_model_card",
]
