"""SHA-256 of tensors and files, by which a model or a set of pictures is known again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from .batch import PICTURE, Batch

PIECE = 2**20  # bytes of a file read at a time


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """Of names and bytes, in the names' order: 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(bytes_of(tensor))
    return digest.hexdigest()


def digest_of_pictures(batches: Iterable[Batch]) -> str:
    """Of pictures in their order, however they are batched: 64 hexadecimal digits.

    Of each picture what the model is given, by name: for a tensor `name type [shape]` as text and its bytes,
    for anything else its Python text; a line break after every text.
    """
    digest = hashlib.sha256()
    for batch in batches:
        held = batch.args[0]
        for record in ({PICTURE: picture} for picture in held) if isinstance(held, Tensor) else held:
            _add(digest, record)
    return digest.hexdigest()


def _add(digest: hashlib._Hash, record: Mapping[str, object]) -> None:
    for name, value in sorted(record.items()):
        if isinstance(value, Tensor):
            kind = str(value.dtype).removeprefix("torch.")
            digest.update(f"{name} {kind} {list(value.shape)}\n".encode())
            digest.update(bytes_of(value))
        else:
            digest.update(f"{name} {value!r}\n".encode())


def digest_of_files(files: Iterable[Path]) -> str:
    """Of the bytes of one after the other: 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while piece := file.read(PIECE):
                digest.update(piece)
    return digest.hexdigest()


def bytes_of(tensor: Tensor) -> memoryview:
    """A tensor's own bytes, whatever its type."""
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data
