"""Tiny Segment Anythings, and a quantizer that only shakes their weights: what is tested is the page."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch

import vitq_core as vq
from tests.sam import tiny_sam
from ui.segment import settings
from ui.segment.settings import SamSettings

TINY, OTHER = "tiny-sam", "other-sam"


def info(model_id: str) -> vq.ModelInfo:
    return vq.ModelInfo(model_id, model_id, "segmentation", 100_000, True, model_id, "A tiny one.")


def shaken(
    model: vq.Model, images: Any, recipe: Any, progress: Any = None, cancel: Any = None, seed: int = 0
):
    """In place of `vq.quantize`: weights with noise, the more the fewer bits."""
    for number, _ in enumerate(images):
        if cancel is not None and cancel():
            raise vq.Cancelled("cancelled")
        progress(number / len(images), "Measuring activations")
    torch.manual_seed(seed)
    module = copy.deepcopy(model.module)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * parameter.std() * 2.0 ** (-recipe.weight_bits))
    return SimpleNamespace(model=module, report=SimpleNamespace(size_mb=1.0, fp32_size_mb=4.0))


def stand_in(put: Callable[[Any, str, Any], None]) -> None:
    """Offer them: `put(object, name, value)` sets an attribute. Other models stay as they are."""
    listed, load, quantize = vq.list_models(), vq.load_model, vq.quantize
    models = {TINY: tiny_sam(), OTHER: tiny_sam(seed=5)}

    def load_model(name: str, *args: Any) -> vq.Model:
        return vq.Model(models[name], None, None, info(name)) if name in models else load(name, *args)

    def quantized(model: Any, *args: Any, **named: Any) -> Any:
        ours = getattr(model, "module", None) in models.values()
        return shaken(model, *args, **named) if ours else quantize(model, *args, **named)

    put(vq, "list_models", lambda: [*listed, info(TINY), info(OTHER)])
    put(vq, "load_model", load_model)
    put(vq, "quantize", quantized)
    put(settings, "models", lambda: [("Tiny", TINY), ("Other", OTHER)])
    put(settings, "methods", lambda: [("Min–max", "minmax")])
    put(SamSettings, "engine_recipe", lambda self: vq.recipe("minmax", self.weight_bits, self.act_bits))
