"""VitQ's engine: quantize vision transformers after training, measure what that costs, save the result.

import vitq_core as vq
model = vq.load_model("demo-vit")
result = vq.quantize(model, images, vq.recipe("repq", weight_bits=4, act_bits=4))
"""

from . import recipes, scoring  # noqa: F401 - they register the recipes and what ranks layers
from .allocation import Budget, Forecast, allocate_bits, forecast_bits
from .allocation.table import TableCost, table_cost
from .common.errors import Cancelled, StorageError, VitqError
from .evaluation import Evaluation, evaluate
from .exporters.packed import load_quantized, save_quantized
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
from .quantized.report import Report, SiteRow, StageRow, UnitRow
from .quantized.result import QuantizeResult
from .recipes.recipe import RECIPES, Options, Recipe, Use, recipe
from .recipes.schedule import EFFORTS, Schedule
from .reconstruction.progress import UnitProgress
from .scoring.explanation import Relevance, relevance
from .scoring.scores import Importance
from .scoring.sources import SOURCES
from .scoring.streaming import importance

__all__ = [
    "EFFORTS",
    "RECIPES",
    "SOURCES",
    "Answer",
    "Budget",
    "Cancelled",
    "EmbeddingCache",
    "Evaluation",
    "FileDescription",
    "Forecast",
    "Importance",
    "Layer",
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
    "fetch_pictures",
    "forecast_bits",
    "generate_images",
    "importance",
    "list_models",
    "load_model",
    "load_quantized",
    "matched",
    "model_card",
    "quantize",
    "recipe",
    "relevance",
    "save_quantized",
    "segment_everything",
    "table_cost",
    "wrap_model",
]
