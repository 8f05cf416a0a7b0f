"""What a config.json of the hub describes, and why it cannot be used, known before any weights are here."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import timm
from torch import nn

from ..common.errors import VitqError
from ..common.words import brief
from ..graph.base import family_of
from ..pictures.labels import checkpoint_labels
from ..pictures.preprocess import Preprocessing
from ..tasks import classes_of, task_of
from .catalogue import SEGMENTATION
from .checkpoint import pretrained_of
from .checkpoints.building import outlined
from .checkpoints.timm_config import described as of_timm
from .checkpoints.timm_config import without_nulls
from .hub_errors import CONFIG, WEIGHTS, without
from .huggingface.config import is_of_transformers, kind_of, size_of
from .huggingface.load import builder_of, named_classes
from .huggingface.pictures import PREPROCESSOR
from .model import count_params
from .sam.load import ARCHITECTURE as SAM

MOST_BLOCKS = 1000  # of a model that is built to be looked at; the deepest of timm has 100
UNNAMED = ("0", "1")  # the library's default: two classes without names
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
    architecture = config.get("architecture")
    if architecture == SAM or is_of_transformers(config):
        return None
    if not isinstance(architecture, str):
        return f"names no architecture in its {CONFIG}, so it is no model in timm's format"
    if timm.is_model(architecture):
        return None
    return f"asks for {architecture!r:.80}, an architecture that timm {timm.__version__} lacks"


def described(config: bytes, repo: str) -> Described:
    """What the config.json of a repository describes. VitqError, naming `repo`, where that cannot be used."""
    said = _parsed(config, repo)
    reason = supported(said)
    if reason is not None:
        raise VitqError(f"{repo} {reason}")
    if said.get("architecture") == SAM:
        return Described(SAM, SEGMENTATION, 0, 0, None)
    _check_depth(said, repo)
    if is_of_transformers(said):
        return _of_transformers(said, repo)
    module = outlined(of_timm(said, repo).build(), f"the {CONFIG} of {repo}")
    _check_known(module, repo)
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


def small_files(config: bytes, filename: str, size: int, repo: str) -> tuple[str, ...]:
    """The same, and which small files belong to them."""
    check_worth(config, filename, size, repo)
    return (PREPROCESSOR,) if is_of_transformers(_parsed(config, repo)) else ()


def _parsed(config: bytes, repo: str) -> dict[str, Any]:
    try:
        said = json.loads(config)
    except (ValueError, RecursionError) as error:
        raise VitqError(f"the {CONFIG} of {repo} is damaged: {brief(error)}") from error
    return without_nulls(said) if isinstance(said, dict) else {}


def _of_transformers(said: Mapping[str, Any], repo: str) -> Described:
    """How its pictures are prepared stands in another file, which is read with the weights."""
    kind, size = kind_of(said, repo), size_of(said)
    classes = len(named_classes(said) or UNNAMED) if kind.classifies else 0
    build = builder_of(said, kind, classes, size, repo)
    module = outlined(build, f"the {CONFIG} of {repo}")
    _check_known(module, repo)
    architecture, task = said["architectures"][0], task_of(module).name
    return Described(architecture, task, count_params(module), classes, size)


def _check_depth(said: Mapping[str, Any], repo: str) -> None:
    if _blocks(said) > MOST_BLOCKS:
        raise VitqError(f"the {CONFIG} of {repo} does not fit timm: it has more than {MOST_BLOCKS:,} blocks")


def _blocks(said: Mapping[str, Any]) -> int:
    """How many are asked for by number."""
    given = said.get("model_args")
    given = given if isinstance(given, Mapping) else {}
    depths = [given.get("depth"), said.get("num_hidden_layers")]
    depths += [*_listed(given.get("depths")), *_listed(said.get("depths"))]
    return sum(depth for depth in depths if isinstance(depth, int))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _check_known(module: nn.Module, repo: str) -> None:
    """VitqError where no family knows its parts."""
    try:
        family = family_of(module)
        family.rewrite(module)
        family.sites(module)
    except VitqError as error:
        raise VitqError(f"{repo} cannot be quantized: {error}") from error


def _checked(module: nn.Module, repo: str) -> tuple[int, int]:
    """The size of its pictures. VitqError where it gives no usable answer."""
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
