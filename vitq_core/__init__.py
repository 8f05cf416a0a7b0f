"""VitQ's engine: quantize vision transformers after training, measure what that costs, save the result.

import vitq_core as vq
model = vq.load_model("demo-vit")
result = vq.quantize(model, images, vq.recipe("repq", weight_bits=4, act_bits=4))
"""

from . import recipes  # registers the named recipes
from .allocation import Budget, allocate_bits
from .allocation.table import TableCost, table_cost
from .errors import Cancelled, VitqError
from .evaluate import Evaluation, evaluate
from .importance import SOURCES, importance
from .layer_scores import Importance
from .models import Model, ModelInfo, list_models, load_model, wrap_model
from .pipeline import QuantizeResult, quantize
from .recipe import RECIPES, Options, Recipe, Use, recipe
from .reconstruction import UnitProgress
from .relevance.explain import Relevance, relevance
from .report import Report, SiteRow, UnitRow
from .saving.folder import load_quantized, save_quantized
from .schedule import EFFORTS, Schedule
from .site import Layer, NormPair, Site

__all__ = [
    "EFFORTS",
    "RECIPES",
    "SOURCES",
    "Budget",
    "Cancelled",
    "Evaluation",
    "Importance",
    "Layer",
    "Model",
    "ModelInfo",
    "NormPair",
    "Options",
    "QuantizeResult",
    "Recipe",
    "Relevance",
    "Report",
    "Schedule",
    "Site",
    "SiteRow",
    "TableCost",
    "UnitProgress",
    "UnitRow",
    "Use",
    "VitqError",
    "allocate_bits",
    "evaluate",
    "importance",
    "list_models",
    "load_model",
    "load_quantized",
    "quantize",
    "recipe",
    "recipes",
    "relevance",
    "save_quantized",
    "table_cost",
    "wrap_model",
]
