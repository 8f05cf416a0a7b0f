"""What a config.json of the hub describes, and why it cannot be used, known before any weights are here."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import timm
from torch import nn

from ..common.errors import VitqError
from ..graph.base import family_of
from ..pictures.labels import checkpoint_labels
from ..pictures.preprocess import Preprocessing
from ..tasks import classes_of, task_of
from .catalogue import SEGMENTATION
from .checkpoint import pretrained_of
from .checkpoints.building import outlined
from .checkpoints.timm_config import described as of_timm
from .checkpoints.timm_config import without_nulls
from .hub_errors import CONFIG, WEIGHTS, brief, without
from .model import count_params
from .sam.load import ARCHITECTURE as SAM

MOST_BLOCKS = 1000  # of a model that is built to be looked at; the deepest of timm has 100
BYTES = 2  # of a parameter, at least: half precision


@dataclass(frozen=True)
class Described:
    """`classes`: 0 without a head. `size`: (height, width) in pixels; None, and no `params`, where only the
    weights tell."""

    architecture: str
    task: str
    params: int
    classes: int
    size: tuple[int, int] | None


def supported(config: Mapping[str, Any]) -> str | None:
    """Why no model with this config.json can be used, as the end of a sentence; None where it may be."""
    architecture, kind = config.get("architecture"), config.get("model_type")
    if architecture == SAM:
        return None
    if isinstance(architecture, str):
        known = timm.is_model(architecture)
        return (
            None
            if known
            else f"asks for {architecture!r:.80}, an architecture that timm {timm.__version__} lacks"
        )
    if isinstance(kind, str):
        return (
            f"is a checkpoint of the transformers library, of the type {kind!r:.80}, which is not read; the "
            "same model in timm's format is (often timm/…)"
        )
    return f"names no architecture in its {CONFIG}, so it is no model in timm's format"


def described(config: bytes, repo: str) -> Described:
    """What the config.json of a repository describes. VitqError, naming `repo`, where that cannot be used."""
    said = _parsed(config, repo)
    reason = supported(said)
    if reason is not None:
        raise VitqError(f"{repo} {reason}")
    if said.get("architecture") == SAM:
        return Described(SAM, SEGMENTATION, 0, 0, None)
    module = _empty(said, repo)
    size = _checked(module, repo)
    architecture, task = said["architecture"], task_of(module).name
    return Described(architecture, task, count_params(module), classes_of(module) or 0, size)


def check_worth(config: bytes, filename: str, size: int, repo: str) -> Described:
    """The same for weights of `size` bytes in a file of that name, which must be able to hold them."""
    found = described(config, repo)
    if filename != WEIGHTS and found.task != SEGMENTATION:
        raise without(repo, WEIGHTS)
    if BYTES * found.params > size:
        raise VitqError(
            f"the {CONFIG} of {repo} does not fit its weights: it describes {found.params:,} parameters, and "
            f"{filename} has {size:,} bytes"
        )
    return found


def _parsed(config: bytes, repo: str) -> dict[str, Any]:
    try:
        said = json.loads(config)
    except (ValueError, RecursionError) as error:
        raise VitqError(f"the {CONFIG} of {repo} is damaged: {brief(error)}") from error
    return without_nulls(said) if isinstance(said, dict) else {}


def _empty(said: Mapping[str, Any], repo: str) -> nn.Module:
    """Without memory for its weights."""
    source = f"the {CONFIG} of {repo}"
    if _blocks(said) > MOST_BLOCKS:
        raise VitqError(f"{source} does not fit timm: it has more than {MOST_BLOCKS:,} blocks")
    return outlined(of_timm(said, repo).build(), source)


def _blocks(said: Mapping[str, Any]) -> int:
    """How many are asked for by number."""
    given = said.get("model_args")
    given = given if isinstance(given, Mapping) else {}
    depths = [given.get("depth"), *_listed(given.get("depths"))]
    return sum(depth for depth in depths if isinstance(depth, int))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _checked(module: nn.Module, repo: str) -> tuple[int, int]:
    """The size of its pictures. VitqError where no family knows its parts, or it gives no usable answer."""
    try:
        family = family_of(module)
        family.rewrite(module)
        family.sites(module)
    except VitqError as error:
        raise VitqError(f"{repo} cannot be quantized: {error}") from error
    config, classes = module.pretrained_cfg, classes_of(module) or 0
    if config.get("num_classes") not in (None, classes):
        stated = config["num_classes"]
        raise VitqError(f"the {CONFIG} of {repo} says {stated} classes but builds a model of {classes}")
    if classes and not getattr(module, "global_pool", "token"):
        raise VitqError(f"{repo} cannot be quantized: it has classes and gives one answer for each patch")
    try:
        checkpoint_labels(config, classes)
        return Preprocessing.from_timm(pretrained_of(module)).size
    except (ValueError, TypeError, KeyError) as error:
        raise VitqError(f"the {CONFIG} of {repo} cannot be used: {error}") from error
