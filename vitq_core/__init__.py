"""VitQ's engine: quantize vision transformers after training, measure what that costs, save the result.

import vitq_core as vq
model = vq.load_model("demo-vit")
result = vq.quantize(model, images, vq.recipe("repq", weight_bits=4, act_bits=4))
"""

from . import recipes  # registers the named recipes
from .errors import Cancelled, VitqError
from .evaluate import Evaluation, evaluate
from .models import Model, ModelInfo, list_models, load_model, wrap_model
from .pipeline import QuantizeResult, quantize
from .recipe import RECIPES, Options, Recipe, Use, recipe
from .saving.folder import load_quantized, save_quantized
from .site import Layer, NormPair, Site

__all__ = [
    "RECIPES",
    "Cancelled",
    "Evaluation",
    "Layer",
    "Model",
    "ModelInfo",
    "NormPair",
    "Options",
    "QuantizeResult",
    "Recipe",
    "Site",
    "Use",
    "VitqError",
    "evaluate",
    "list_models",
    "load_model",
    "load_quantized",
    "quantize",
    "recipe",
    "recipes",
    "save_quantized",
    "wrap_model",
]
