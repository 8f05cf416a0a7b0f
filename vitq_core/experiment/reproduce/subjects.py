"""The models of the papers' tables by all their names, as they were trained or with random weights."""

from __future__ import annotations

import re
from dataclasses import replace

import timm
import torch

from ...models import Model, ModelInfo, list_models, load_model, wrap_model
from ...pictures.labels import IMAGENET_CLASSES, checkpoint_labels
from .published import MODELS

# What the catalogue calls them.
IDS = dict(
    zip(
        MODELS,
        ("vit-small", "vit-base", "deit-tiny", "deit-small", "deit-base", "swin-small", "swin-base"),
        strict=True,
    )
)
RANDOM = "; its weights are random, so that it knows nothing: what counts is time and memory"


def column_of(name: str) -> str:
    """What the papers call the model of this name (``deit_small``, ``deit-small``, ``DeiT-S``); any other
    model's own name."""
    wanted = _plain(name)
    return next((title for title, id in IDS.items() if wanted in (_plain(title), _plain(id))), name)


def load_subject(name: str, random_weights: bool = False, seed: int = 0, **given: object) -> Model:
    """The model of a column; ``given``: as `load_model` takes it. With ``random_weights`` nothing is
    downloaded, and the same ``seed`` gives the same model. Raises ValueError for an unknown name, or one of
    which only the trained weights are known."""
    id = IDS.get(column_of(name), name)
    if not random_weights:
        return load_model(id, **given)
    info = next((info for info in list_models() if info.id == id), None)
    if info is None or info.bundled or not info.source.startswith("timm/"):
        known = ", ".join(IDS.values())
        raise ValueError(
            f"random weights are for models that would be downloaded, got {name!r}; available: {known}"
        )
    return _random(info, seed, given.get("device"))


def _random(info: ModelInfo, seed: int, device: object) -> Model:
    architecture = info.source.partition("/")[2].partition(".")[0]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = timm.create_model(architecture)
    config = module.pretrained_cfg
    model = wrap_model(
        module, checkpoint_labels({}, IMAGENET_CLASSES), config["mean"], config["std"],
        crop_pct=config["crop_pct"], interpolation=config["interpolation"], device=device,
    )  # fmt: skip
    return replace(model, info=replace(info, summary=f"{info.title}{RANDOM}."))


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
