"""Reading a model of one's own: a folder in timm's or transformers' format, or a file of weights alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import timm
from torch import nn

from ..common.errors import VitqError
from ..pictures.labels import checkpoint_labels
from ..pictures.preprocess import Preprocessing
from ..tasks import classes_of
from .checkpoints.given import Given
from .checkpoints.timm_config import Described, described, read_config
from .checkpoints.timm_weights import filled
from .hub_errors import CONFIG, PICKLED, WEIGHTS
from .huggingface.config import is_of_transformers
from .huggingface.load import read_transformers
from .model import check_size, checked_labels, fixed_size, wrap_model

FILES = (WEIGHTS, PICKLED, "pytorch_model.bin")  # of a folder's weights, the first that is there
INDEX = f"{WEIGHTS}.index.json"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A module in evaluation mode and float32 without gradients, and what there is to know of its use.

    `notes`: in sentences, which part of the file its weights are where that is not plain.
    """

    module: nn.Module
    preprocessing: Preprocessing
    labels: list[str] | None
    notes: tuple[str, ...] = ()


def read_checkpoint(folder: Path, name: str, given: Given, file: Path | None = None) -> Checkpoint:
    """The model of `folder` with its own weights, or those in `file`.

    Where `given` names an architecture, config.json is not read. Raises VitqError with `name` and the reason:
    a file missing or damaged, an architecture timm does not know, weights that do not fit it or are not
    finite; ValueError for what is `given` and does not fit.
    """
    if given.architecture is not None:
        return _undescribed(file or weights_in(folder, name), name, given)
    config = read_config(folder, name)
    path = file or weights_in(folder, name)
    if is_of_transformers(config):
        return _of_transformers(config, path, name, given)
    return _of_timm(config, path, name, given)


def weights_in(folder: Path, name: str) -> Path:
    """The file of weights in `folder`; VitqError where there is none."""
    found = next((folder / file for file in FILES if (folder / file).is_file()), None)
    if found is None and (folder / INDEX).is_file():
        raise VitqError(f"the weights of {name} are split over several files; save them as one {WEIGHTS}")
    if found is None:
        raise VitqError(f"{name} has no {WEIGHTS} in {folder}; a model folder holds {CONFIG} and {WEIGHTS}")
    return found


def where(path: Path, name: str) -> str:
    """What a file of weights is called: of the model `name`, unless that is its own."""
    return name if Path(name).name == path.name else f"{path.name} of {name}"


def _of_timm(config: Mapping[str, Any], path: Path, name: str, given: Given) -> Checkpoint:
    asked = described(config, name)
    found = filled(path, name, where(path, name), asked)
    module = found.module
    try:
        pretrained = pretrained_of(module)
        preprocessing = Preprocessing.from_timm(pretrained)
        labels = None if given.labels else checkpoint_labels(pretrained, classes_of(module) or 0)
    except (ValueError, TypeError, KeyError) as error:
        raise VitqError(f"the {CONFIG} of {name} cannot be used: {error}") from error
    return completed(module, preprocessing, labels, given, found.notes)


def _of_transformers(config: Mapping[str, Any], path: Path, name: str, given: Given) -> Checkpoint:
    module, preprocessing, labels, notes = read_transformers(config, path, name, where(path, name), given)
    return completed(module, preprocessing, labels, given, notes)


def completed(
    module: nn.Module,
    preprocessing: Preprocessing,
    labels: list[str] | None,
    given: Given,
    notes: tuple[str, ...] = (),
) -> Checkpoint:
    """With what is `given` in place of what a folder says; ValueError where it does not fit."""
    preprocessing = given.over(preprocessing)
    check_size(preprocessing.size, module)
    own = checked_labels(given.labels, module)
    return Checkpoint(module, preprocessing, labels if own is None else own, notes)


def pretrained_of(module: nn.Module) -> dict[str, Any]:
    """timm's pretrained_cfg with the size and channels that the module takes, whatever the file says."""
    config = dict(module.pretrained_cfg)
    channels, *size = config.get("input_size", (3, 224, 224))
    taken = fixed_size(module) or tuple(size)
    return {**config, "input_size": (getattr(module, "in_chans", channels), *taken)}


def _undescribed(path: Path, name: str, given: Given) -> Checkpoint:
    """Weights of a given architecture; what is said nowhere is as in `wrap_model`, sizes are the file's."""
    _check_known(given.architecture)
    source = "timm" if given.size is None else f"timm at the size {given.size}"
    arguments = {} if given.size is None else {"img_size": given.size}
    asked = Described(given.architecture, arguments, None, None, source)
    found = filled(path, name, where(path, name), asked)
    _check_patches(found.module)
    model = wrap_model(found.module, given.labels, **given.pictures())
    labels = model.labels or checkpoint_labels({}, model.classes)
    return Checkpoint(found.module, model.preprocessing, labels, found.notes)


def _check_patches(module: nn.Module) -> None:
    size = fixed_size(module)
    patch = getattr(module.patch_embed, "patch_size", (1, 1)) if size else (1, 1)
    if size and any(side % length for side, length in zip(size, patch, strict=True)):
        raise ValueError(
            f"size is {size[0]}×{size[1]}, which patches of {patch[0]}×{patch[1]} pixels do not fill"
        )


def _check_known(architecture: str) -> None:
    if timm.is_model(architecture):
        return
    near = get_close_matches(architecture, timm.list_models(), n=3)
    meant = f"; did you mean {', '.join(near)}?" if near else ", such as vit_small_patch16_224"
    raise ValueError(f"timm {timm.__version__} has no architecture {architecture!r:.80}{meant}")
