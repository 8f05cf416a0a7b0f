"""SHA-256 of tensors, by which a model or a set of pictures is known again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """Of names and bytes, in the names' order: 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(bytes_of(tensor))
    return digest.hexdigest()


def bytes_of(tensor: Tensor) -> memoryview:
    """A tensor's own bytes, whatever its type."""
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data
