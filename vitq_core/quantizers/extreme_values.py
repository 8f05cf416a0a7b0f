"""The smallest and the largest values of a stream, exactly, without sorting what cannot be among them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

BLOCK = 64  # values whose extremes are compared first when looking for those of a tensor


class ExtremeValues:
    """Per group, the ``keep`` smallest and largest values seen so far."""

    def __init__(self) -> None:
        self._low = self._high = np.empty((0, 0), np.float32)

    def update(self, groups: Tensor, keep: int) -> None:
        """Take in [groups, values]; ``keep`` is the same for the whole stream."""
        low, high = self._candidates(groups, keep)
        self._low = _smallest(_joined(self._low, low), keep)
        self._high = _largest(_joined(self._high, high), keep)

    def sorted(self) -> tuple[np.ndarray, np.ndarray]:
        """(low, high), each [groups, ≤ keep], ascending."""
        self._low.sort(axis=1)
        self._high.sort(axis=1)
        return self._low, self._high

    def _candidates(self, groups: Tensor, keep: int) -> tuple[np.ndarray, np.ndarray]:
        if len(groups) > 1:
            values = groups.cpu().numpy()
            return values, values
        if self._high.shape[1] >= keep:  # full: only what goes beyond matters
            return _beyond(groups[0], float(self._low.max()), float(self._high.min()))
        return _ends(groups[0], keep)


def _ends(values: Tensor, keep: int) -> tuple[np.ndarray, np.ndarray]:
    """The k-th largest block maximum is at most the k-th largest value: all below it are out."""
    if values.numel() // BLOCK <= keep:
        everything = values.cpu().numpy()[None]
        return everything, everything
    low, high = (end.cpu().numpy() for end in _blocks(values)[0].aminmax(dim=1))
    return _beyond(
        values, float(np.partition(low, keep - 1)[keep - 1]), float(np.partition(high, -keep)[-keep])
    )


def _beyond(values: Tensor, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Picking single values is slow: blocks are picked first, by their extremes."""
    blocks, rest = _blocks(values)
    lows, highs = blocks.aminmax(dim=1)
    below = torch.cat((blocks[lows <= low].flatten(), rest))
    above = torch.cat((blocks[highs >= high].flatten(), rest))
    return below[below <= low].cpu().numpy()[None], above[above >= high].cpu().numpy()[None]


def _blocks(values: Tensor) -> tuple[Tensor, Tensor]:
    """[blocks, BLOCK], and what is left over."""
    whole = values.numel() - values.numel() % BLOCK
    return values[:whole].reshape(-1, BLOCK), values[whole:]


def _smallest(values: np.ndarray, keep: int) -> np.ndarray:
    """Unsorted, and a copy: ``values`` may be the activation itself."""
    return (
        values.copy() if values.shape[1] <= keep else np.partition(values, keep - 1, axis=1)[:, :keep].copy()
    )


def _largest(values: np.ndarray, keep: int) -> np.ndarray:
    return values.copy() if values.shape[1] <= keep else np.partition(values, -keep, axis=1)[:, -keep:].copy()


def _joined(kept: np.ndarray, new: np.ndarray) -> np.ndarray:
    return new if kept.size == 0 else np.concatenate((kept, new), axis=1)
