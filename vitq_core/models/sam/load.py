"""From a file of weights to a `Sam`: all of it, or a sentence."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from segment_anything.modeling import Sam
from torch import Tensor

from ...common.errors import VitqError
from ...common.sam_shape import SamShape
from ...common.words import brief
from ..checkpoints.tables import tables_of
from ..hub_errors import CONFIG, PICKLED, WEIGHTS
from ..weight_file import opened
from .others import is_sam_name, plain_names, refuse_relatives
from .recognise import shape_of
from .weight_file import read_tensors

ARCHITECTURE = "segment_anything"
TRANSFORMERS = "sam"  # what that library's own files say; they are refused with a sentence


def holds_sam(folder: Path, name: str) -> bool:
    """Whether its config.json says so, or without one the names of its weights; `name`: the model's."""
    if (folder / CONFIG).exists():
        config = _config(folder)
        return config.get("architecture") == ARCHITECTURE or config.get("model_type") == TRANSFORMERS
    weights = _weights(folder)
    return weights is not None and is_sam_file(weights, name)


def is_sam_file(path: Path, name: str) -> bool:
    """Whether the weights at `path` are called as Segment Anything's, or a relative's, are.

    Raises VitqError with the model's `name` for what is no file of weights.
    """
    return any(is_sam_name(key) for table in tables_of(opened(path, name), name) for key in table.tensors)


def read_sam_folder(folder: Path, name: str) -> Sam:
    """The Sam of a folder with model.safetensors or model.pth; VitqError with `name` and the reason."""
    weights = _weights(folder)
    if weights is None:
        raise VitqError(f"{name} has no {WEIGHTS} in {folder}; a model folder holds {CONFIG} and {WEIGHTS}")
    try:
        return read_sam(weights, name, described_in(folder))
    except VitqError as error:
        if (folder / CONFIG).exists():
            raise
        raise VitqError(
            f"{name} has no {CONFIG}, and without one its weights cannot be used: {error}"
        ) from error


def _weights(folder: Path) -> Path | None:
    return next((folder / file for file in (WEIGHTS, PICKLED) if (folder / file).is_file()), None)


def described_in(folder: Path) -> dict[str, Any]:
    """What the folder's config.json says of a Sam's shape; nothing where it is missing or of another model.

    Raises VitqError for a shape that is no table.
    """
    config = _config(folder)
    shape = config.get("shape", {}) if config.get("architecture") == ARCHITECTURE else {}
    if not isinstance(shape, dict):
        raise VitqError(f"the {CONFIG} of {folder.name} must hold its shape as a table, got {shape!r:.80}")
    return shape


def _config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / CONFIG).read_bytes())
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def read_sam(path: Path, name: str, given: Mapping[str, Any], source: str = f"the {CONFIG}") -> Sam:
    """The Sam of the weights in the file at `path`: evaluation mode, float32, no gradients.

    `given`: fields of a SamShape that `source` says, also such as sizes do not tell. Raises VitqError with
    `name` and the reason.
    """
    tensors = plain_names(read_tensors(path, name))
    refuse_relatives(tensors, name)
    shape = shape_of(tensors, given, name, source)
    sam = _empty(shape, name)
    _check_sizes(sam, tensors, name)
    sam.load_state_dict(_float32(tensors, name), assign=True)
    return sam.requires_grad_(False)


def _empty(shape: SamShape, name: str) -> Sam:
    """Without memory for its weights, so that no billion of numbers is drawn at random to be replaced."""
    try:
        if shape.width % shape.heads:
            raise ValueError(f"width {shape.width} is no multiple of {shape.heads} heads")
        with torch.device("meta"):
            sam = shape.build()
        # The only numbers that are in no file: build() has put them nowhere.
        for field, values in (("pixel_mean", shape.mean), ("pixel_std", shape.std)):
            setattr(sam, field, _per_channel(field, values))
    except (TypeError, ValueError, ArithmeticError, AssertionError, RuntimeError, IndexError) as error:
        raise VitqError(f"the shape of {name} cannot be built: {brief(error)}") from error
    return sam


def _per_channel(field: str, values: tuple[float, ...]) -> Tensor:
    numbers = torch.tensor(values, dtype=torch.float32).view(-1, 1, 1)
    if (
        len(numbers) != 3
        or not torch.isfinite(numbers).all()
        or (field == "pixel_std" and numbers.min() <= 0)
    ):
        raise ValueError(f"{field} must be three numbers, one a colour, got {values!r:.80}")
    return numbers


def _check_sizes(sam: Sam, tensors: Mapping[str, Tensor], name: str) -> None:
    expected = sam.state_dict()
    extra, missing = sorted(tensors.keys() - expected.keys()), sorted(expected.keys() - tensors.keys())
    if extra:
        raise VitqError(
            f"{name} has {len(extra)} weights that Segment Anything does not have, such as {extra[0]}"
        )
    if missing:
        raise VitqError(f"{name} lacks {len(missing)} of Segment Anything's weights, such as {missing[0]}")
    for key, value in tensors.items():
        if value.shape != expected[key].shape:
            raise VitqError(
                f"{key} of {name} has the size {list(value.shape)}, not {list(expected[key].shape)}"
            )


def _float32(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """Copies of their own, in place of the stored ones, which are given up one by one: a large model is not
    held twice."""
    found = {}
    for key in list(tensors):
        value = tensors.pop(key)
        if not value.is_floating_point() or value.layout != torch.strided:
            raise VitqError(f"{key} of {name} holds {value.dtype} and no plain floating-point numbers")
        own = value.detach().to(torch.float32, copy=True, memory_format=torch.contiguous_format)
        if not torch.isfinite(own).all():
            raise VitqError(f"the weights of {name} contain values that are not finite numbers")
        found[key] = own
    return found
