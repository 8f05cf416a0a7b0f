"""The smallest and the largest values of a stream, exactly, without sorting what cannot be among them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..common.errors import VitqError

BLOCK = 64  # values whose extremes are compared first when looking for those of a tensor


class ExtremeValues:
    """Per group, the ``keep`` smallest and largest values seen so far."""

    def __init__(self) -> None:
        self._low = self._high = np.empty((0, 0), np.float32)

    def update(self, groups: Tensor, keep: int) -> None:
        """Take in [groups, values]; ``keep`` is the same for the whole stream.

        Raises VitqError for values that are not finite, before any is taken in.
        """
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
            keep = min(keep, groups.shape[1])
            low, high = (
                groups.topk(keep, dim=1, largest=largest, sorted=False).values for largest in (False, True)
            )
            _check_finite(low, high)
            return low.cpu().numpy(), high.cpu().numpy()
        blocks = _Blocks(groups[0])
        if self._high.shape[1] >= keep:  # full: only what goes beyond matters
            return blocks.beyond(float(self._low.max()), float(self._high.min()))
        return blocks.ends(keep)


class _Blocks:
    """Values [n] and the extremes of every BLOCK: picking single values is slow, so blocks come first."""

    def __init__(self, values: Tensor) -> None:
        whole = values.numel() - values.numel() % BLOCK
        self._values, self._blocks, self._rest = values, values[:whole].view(-1, BLOCK), values[whole:]
        # each alone: aminmax along an axis takes several times as long
        self._low, self._high = self._blocks.amin(dim=1), self._blocks.amax(dim=1)
        _check_finite(self._low, self._high, self._rest)

    def ends(self, keep: int) -> tuple[np.ndarray, np.ndarray]:
        """The k-th largest block maximum is at most the k-th largest value: all below it are out."""
        if len(self._blocks) <= keep:
            everything = self._values.cpu().numpy()[None]
            return everything, everything
        low, high = self._low.cpu().numpy(), self._high.cpu().numpy()
        return self.beyond(
            float(np.partition(low, keep - 1)[keep - 1]), float(np.partition(high, -keep)[-keep])
        )

    def beyond(self, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
        """The values that are at most ``low`` and those that are at least ``high``."""
        below = torch.cat((self._blocks[self._low <= low].flatten(), self._rest))
        above = torch.cat((self._blocks[self._high >= high].flatten(), self._rest))
        return below[below <= low].cpu().numpy()[None], above[above >= high].cpu().numpy()[None]


def _check_finite(*values: Tensor) -> None:
    """Of extremes: those of values that are not all finite are not either."""
    if not all(torch.isfinite(each).all() for each in values):
        raise VitqError("a quantizer met values that are not finite; are the pictures preprocessed?")


def _smallest(values: np.ndarray, keep: int) -> np.ndarray:
    """Unsorted, and a copy: ``values`` may be the activation itself."""
    return (
        values.copy() if values.shape[1] <= keep else np.partition(values, keep - 1, axis=1)[:, :keep].copy()
    )


def _largest(values: np.ndarray, keep: int) -> np.ndarray:
    return values.copy() if values.shape[1] <= keep else np.partition(values, -keep, axis=1)[:, -keep:].copy()


def _joined(kept: np.ndarray, new: np.ndarray) -> np.ndarray:
    return new if kept.size == 0 else np.concatenate((kept, new), axis=1)
