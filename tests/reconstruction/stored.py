"""Pictures kept for learning, as reconstruction gets them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from vitq_core.common.batch import Batch
from vitq_core.data.calibration_set import CalibrationPictures, PictureStore
from vitq_core.data.store import Scratch
from vitq_core.tasks import TASKS


def kept(images: Tensor, scratch: Scratch | None = None) -> PictureStore:
    """``images`` [n, C, H, W], in chunks."""
    pictures = CalibrationPictures(images, TASKS["classification"].collate)
    return pictures.kept(len(images), scratch or Scratch())


def only_tensor(tree: Any) -> Tensor:
    """That of a unit's input or output, or of pictures."""
    leaves = tree.tensors if isinstance(tree, Batch) else tree_leaves(tree)
    (tensor,) = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
    return tensor


def everything(store: Iterable[Any]) -> Tensor:
    return torch.cat([only_tensor(tree) for tree in store])
