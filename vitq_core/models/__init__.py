"""Models to quantize: the catalogue, folders, the Hugging Face hub, modules in memory."""

from .catalogue import ModelInfo, list_models
from .model import Model, Preprocessing, load_model, wrap_model

__all__ = ["Model", "ModelInfo", "Preprocessing", "list_models", "load_model", "wrap_model"]
