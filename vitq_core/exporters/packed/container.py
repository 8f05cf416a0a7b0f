"""The file of a quantized model: tensors, and in its header the description and a checksum of each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from ...common.errors import VitqError

FORMAT = 3  # 2 kept its description in vitq.json alone, 1 also kept bits in three places
READABLE = (1, 2, FORMAT)
WEIGHTS, DESCRIPTION, README = "model.safetensors", "vitq.json", "README.md"
KEY = "vitq"  # of the header's metadata; a single one, as the order of several differs from file to file
TENSORS = "tensors"  # of the description: {name: [type, shape, SHA-256]}
# Of safetensors' types those that a quantized model has.
TYPES = {"F32": torch.float32, "U8": torch.uint8, "I16": torch.int16, "I64": torch.int64}


@dataclass(frozen=True)
class Kind:
    """What a header says of a tensor."""

    dtype: torch.dtype
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Stored:
    """Named tensors; what they are is known before any of them is read."""

    kinds: Mapping[str, Kind]
    read: Callable[[str], Tensor]

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Stored:
        """In memory."""
        kinds = {name: Kind(tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}
        return cls(kinds, tensors.__getitem__)


def write(path: Path, description: Mapping[str, Any], tensors: dict[str, Tensor]) -> None:
    """Everything that loading needs. Raises OSError or SafetensorError for a file that cannot be written."""
    save_file(tensors, path, metadata={KEY: _sealed(json.dumps(description, separators=(",", ":")))})


def listed(tensors: Mapping[str, Tensor]) -> dict[str, list]:
    """{name: [type, shape, SHA-256 of its bytes]}, JSON-ready."""
    return {name: _entry(tensor) for name, tensor in tensors.items()}


@contextmanager
def opened(folder: Path) -> Iterator[tuple[dict[str, Any], Stored]]:
    """The description in ``folder``, and its tensors, mapped: they are parts of the file until they are
    copied. What has checksums is checked.

    Raises VitqError for a folder without a model and one of a newer format; ValueError, OSError or
    SafetensorError for a damaged file.
    """
    if not (folder / WEIGHTS).is_file():
        raise VitqError(f"{folder} holds no quantized model: {WEIGHTS} is missing")
    with safe_open(folder / WEIGHTS, framework="pt") as file:
        sealed = (file.metadata() or {}).get(KEY)
        description = _beside(folder) if sealed is None else _table(_unsealed(sealed))
        _check_format(description, sealed is None)
        stored = Stored({name: _kind(file, name) for name in file.keys()}, file.get_tensor)  # noqa: SIM118
        if sealed is not None:
            _check_sums(description[TENSORS], stored)
        yield description, stored


def _sealed(text: str) -> str:
    """With its SHA-256 before it."""
    return f"{hashlib.sha256(text.encode()).hexdigest()} {text}"


def _unsealed(sealed: str) -> str:
    digest, _, text = sealed.partition(" ")
    if _sealed(text) != sealed:
        raise ValueError(f"its description has another checksum than {digest!r:.80}")
    return text


def _beside(folder: Path) -> dict[str, Any]:
    """The description of the first two formats."""
    if not (folder / DESCRIPTION).is_file():
        raise VitqError(f"{folder} holds no quantized model: {DESCRIPTION} is missing")
    return _table((folder / DESCRIPTION).read_text())


def _table(text: str) -> dict[str, Any]:
    description = json.loads(text)
    if not isinstance(description, dict):
        raise ValueError(f"its description is no table, but {description!r:.80}")
    return description


def _check_format(description: dict[str, Any], beside: bool) -> None:
    number = description["format"]
    if isinstance(number, bool) or number not in READABLE:
        known = ", ".join(map(str, READABLE))
        raise VitqError(f"format {number!r:.20} is not known to this version, which reads {known}")
    if beside != (number != FORMAT):
        raise ValueError(f"{WEIGHTS} and its description are of different formats")


def _kind(file: safe_open, name: str) -> Kind:
    part = file.get_slice(name)
    if part.get_dtype() not in TYPES:
        known = ", ".join(TYPES)
        raise ValueError(f"{name} is of type {part.get_dtype()}, a quantized model's are {known}")
    return Kind(TYPES[part.get_dtype()], tuple(part.get_shape()))


def _check_sums(entries: Mapping[str, list], stored: Stored) -> None:
    different = sorted(entries.keys() ^ stored.kinds.keys())
    if different:
        raise ValueError(f"{different[0]} is {'missing' if different[0] in entries else 'not listed'}")
    for name, entry in entries.items():
        if _entry(stored.read(name)) != entry:
            raise ValueError(f"{name} has another checksum, type or shape than the description says")


def _entry(tensor: Tensor) -> list:
    names = {dtype: name for name, dtype in TYPES.items()}
    octets = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return [names[tensor.dtype], list(tensor.shape), hashlib.sha256(octets).hexdigest()]
