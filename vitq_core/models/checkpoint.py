"""Reading a model folder in timm's local-directory format: config.json and model.safetensors."""

import json
from pathlib import Path

import timm
import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from ..common.errors import VitqError
from ..tasks import classes_of
from .hub import CONFIG, WEIGHTS, brief

# What a configuration that does not fit its architecture or its weights makes timm and torch raise.
_MISFITS = (
    RuntimeError,
    TypeError,
    ValueError,
    KeyError,
    AttributeError,
    AssertionError,
    IndexError,
    ZeroDivisionError,
)


def read_checkpoint(folder: Path, name: str) -> nn.Module:
    """The model of `folder` in evaluation mode and float32, with timm's `pretrained_cfg`; no gradients.

    Raises VitqError with `name` and the reason: a file missing or damaged, an architecture timm does not
    know, weights that do not fit it or are not finite.
    """
    _check_config(folder, name)
    _check_weights(folder, name)
    try:
        module = timm.create_model(f"local-dir:{folder}", pretrained=True)
    except _MISFITS as error:
        raise VitqError(f"the {CONFIG} of {name} does not fit timm or its weights: {brief(error)}") from error
    _check_loaded(module, name)
    return module.float().eval().requires_grad_(False)


def _check_config(folder: Path, name: str) -> None:
    text = _require(folder, CONFIG, name).read_bytes()
    try:
        config = json.loads(text)
    except ValueError as error:
        raise VitqError(f"the {CONFIG} of {name} is damaged: {brief(error)}") from error
    if not isinstance(config, dict) or not isinstance(config.get("architecture"), str):
        raise VitqError(f"the {CONFIG} of {name} names no timm architecture, so it is not a timm model")
    if not timm.is_model(config["architecture"]):
        raise VitqError(
            f"timm {timm.__version__} has no architecture {config['architecture']!r}, which {name} asks for"
        )


def _check_weights(folder: Path, name: str) -> None:
    weights = _require(folder, WEIGHTS, name)
    try:
        with safe_open(weights, framework="pt"):
            pass  # opening checks the header against the file's length
    except (SafetensorError, OSError) as error:
        raise VitqError(
            f"the {WEIGHTS} of {name} is damaged or incomplete ({brief(error)}); "
            f"delete {weights.parent} and get it again"
        ) from error


def _check_loaded(module: nn.Module, name: str) -> None:
    """timm keeps a random head when the numbers of classes differ; that must not pass for a trained model."""
    expected, actual = module.pretrained_cfg.get("num_classes"), classes_of(module)
    if expected is not None and actual != expected:
        raise VitqError(f"the {CONFIG} of {name} says {expected} classes but builds a model of {actual}")
    if not all(torch.isfinite(tensor).all() for tensor in module.state_dict().values()):
        raise VitqError(f"the weights of {name} contain values that are not finite numbers")


def _require(folder: Path, filename: str, name: str) -> Path:
    path = folder / filename
    if not path.is_file():
        raise VitqError(f"{name} has no {filename} in {folder}; a model folder holds {CONFIG} and {WEIGHTS}")
    return path
