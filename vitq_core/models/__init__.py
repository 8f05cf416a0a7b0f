"""Models to quantize: the catalogue, folders, the Hugging Face hub, modules in memory."""

from ..pictures.longest_side import LongestSide
from ..pictures.preprocess import Preprocessing
from .catalogue import ModelInfo, list_models
from .describe import FileDescription, describe_file
from .hub_card import ModelCard, model_card
from .loading import load_model
from .model import Model, wrap_model

__all__ = [
    "FileDescription",
    "LongestSide",
    "Model",
    "ModelCard",
    "ModelInfo",
    "Preprocessing",
    "describe_file",
    "list_models",
    "load_model",
    "model_card",
    "wrap_model",
]
