"""From a folder of the transformers library to a timm module that computes the same."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...common.errors import VitqError
from ...common.words import brief
from ...pictures.labels import checkpoint_labels
from ...pictures.preprocess import Preprocessing
from ..checkpoints.building import MISFITS, Build, built, outlined
from ..checkpoints.fitting import Fit, Tensors, check_kinds, compared, fill
from ..checkpoints.given import Given
from ..checkpoints.names import some
from ..checkpoints.tables import tables_of
from ..checkpoints.unfit import refuse
from ..hub_errors import CONFIG
from ..weight_file import opened
from .config import Kind, builder, kind_of, size_of, takes_any_size
from .names import converted
from .pictures import PREPROCESSOR, preprocessing_of, read_pictures

UNNAMED = "LABEL_"  # what the library calls classes that nobody named


def read_transformers(
    config: Mapping[str, Any], path: Path, name: str, where: str, given: Given
) -> tuple[nn.Module, Preprocessing, list[str] | None, tuple[str, ...]]:
    """The module, how its pictures are prepared, its labels, and notes on what of the file was left out.

    `path`: the weights, beside which preprocessor_config.json lies; `where`: what errors call them. Raises
    VitqError for another class than those that can be converted, and where not every tensor is accounted for;
    ValueError for what is `given` and does not fit.
    """
    kind = kind_of(config, name)
    preprocessing = _preprocessing(config, kind, path.parent, name, given)
    table = tables_of(opened(path, name), name)[0]
    tensors, unused = converted(table.tensors, kind)
    classes = _classes(config, kind, tensors, name, where)
    size = preprocessing.size if takes_any_size(kind) else size_of(config)
    build = builder_of(config, kind, classes, size, name)
    outline = outlined(build, f"the {CONFIG} of {name}")
    _check_windows(outline, name)
    tensors = _positions_for(outline, tensors, kind)
    fit = compared(Fit(table, "", tensors, (), (), (), tuple(unused)), tensors, [], outline)
    check_kinds(fit, where)
    if fit.faults:
        refuse(fit, where, f"{config['architectures'][0]} as its {CONFIG} says")
    module = built(build, f"the {CONFIG} of {name}")
    fill(module, fit.tensors, name)
    notes = (f"Left out, as no answer needs it: {some(unused)}.",) if unused else ()
    labels = _labels(config, classes)
    return module.float().eval().requires_grad_(False), preprocessing, labels, notes


def builder_of(
    config: Mapping[str, Any], kind: Kind, classes: int, size: tuple[int, int], name: str
) -> Build:
    """`builder`, whose errors name the model."""
    try:
        return builder(config, kind, classes, size)
    except MISFITS as error:
        raise VitqError(f"the {CONFIG} of {name} lacks or misstates {brief(error)}") from error
    except VitqError as error:
        raise VitqError(f"{name} cannot be computed by timm's modules: {error}") from error


def _check_windows(outline: nn.Module, name: str) -> None:
    """timm rolls a map and then fills it up to whole windows, the library does so the other way round.

    Where a map is no multiple of its windows the two answer differently, so it is refused with VitqError.
    """
    for block in outline.modules():
        if any(getattr(block, "shift_size", ())):
            height, width = block.input_resolution
            rows, columns = block.window_size
            if height % rows or width % columns:
                raise VitqError(
                    f"{name} has a map of {height}×{width} patches, which windows of {rows}×{columns} do not "
                    "divide: timm's Swin would answer differently from transformers'; give a size= "
                    "that they divide"
                )


def _preprocessing(
    config: Mapping[str, Any], kind: Kind, folder: Path, name: str, given: Given
) -> Preprocessing:
    table, said = read_pictures(folder, name), given.pictures()
    if table is None and not {"mean", "std"} <= said.keys():
        raise VitqError(
            f"{name} has no {PREPROCESSOR}, which says how its pictures are prepared; put it beside the "
            "weights, or give mean and std"
        )
    try:
        own = size_of(config)
        found = Preprocessing(size=own) if table is None else preprocessing_of(table, own)
        found = found if takes_any_size(kind) else replace(found, size=own)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise VitqError(f"the {PREPROCESSOR} of {name} cannot be used: {brief(error)}") from error
    return given.over(found)


def _classes(config: Mapping[str, Any], kind: Kind, tensors: Tensors, name: str, where: str) -> int:
    """How many the head of the file has, which must be as many as are named. 0 for features."""
    if not kind.classifies:
        return 0
    head = next((tensors[key] for key in ("head.weight", "head.fc.weight") if key in tensors), None)
    if head is None:
        raise VitqError(f"{where} has no classifier, but {config['architectures'][0]} has one")
    named = config.get("id2label")
    if isinstance(named, Mapping) and len(named) != len(head):
        raise VitqError(f"{where} has {len(head)} classes, but the {CONFIG} of {name} names {len(named)}")
    return len(head)


def _labels(config: Mapping[str, Any], classes: int) -> list[str] | None:
    """In the order of their numbers; None, or ImageNet's, where they are only numbered."""
    labels = named_classes(config)
    if labels is None or not classes:
        return None
    return checkpoint_labels({}, classes) if all(label.startswith(UNNAMED) for label in labels) else labels


def named_classes(config: Mapping[str, Any]) -> list[str] | None:
    """id2label in the order of its numbers, None where there is none; VitqError where it does not number."""
    named = config.get("id2label")
    if not isinstance(named, Mapping):
        return None
    try:
        return [str(named[key]) for key in sorted(named, key=int)]
    except ValueError as error:
        raise VitqError(f"id2label in the {CONFIG} must number the classes: {brief(error)}") from error


def _positions_for(outline: nn.Module, tensors: Tensors, kind: Kind) -> Tensors:
    """A DINOv2's positions are resampled to the pictures' grid, as the library does at every answer."""
    stored = tensors.get("pos_embed")
    if kind.model_type != "dinov2" or stored is None or stored.shape == outline.pos_embed.shape:
        return tensors
    side = round((stored.shape[1] - 1) ** 0.5)
    if stored.ndim != 3 or side * side != stored.shape[1] - 1:
        return tensors
    return {**tensors, "pos_embed": _resampled(stored.float(), side, outline.patch_embed.grid_size)}


def _resampled(positions: Tensor, side: int, grid: tuple[int, int]) -> Tensor:
    """[1, 1 + side², D] → [1, 1 + h·w, D]."""
    patches = positions[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    patches = functional.interpolate(patches, size=tuple(grid), mode="bicubic", align_corners=False)
    return torch.cat([positions[:, :1], patches.flatten(2).transpose(1, 2)], dim=1)
