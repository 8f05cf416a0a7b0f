"""What a quantizer remembers of the calibration stream: exact tails, extremes and a bounded sample, per group.

Quantiles near 0 and 1 are exact over the whole stream (the tails are kept, 0.1 % of the values), so a range does not
depend on how the pictures were batched; squared errors are ranked on an evenly strided sample of bounded size.
"""

from __future__ import annotations

from math import ceil, gcd

import numpy as np
import torch
from torch import Tensor

TAIL = 0.001  # quantiles in [0, TAIL] and [1 - TAIL, 1] can be asked for
BLOCK = 64  # values whose extremes are compared first when looking for a tensor's tails
SAMPLE = 2**20  # values kept of one site for ranking candidates


class Statistics:
    """Running statistics of a tensor, one group per index of ``axes`` (none: a single group)."""

    def __init__(self, axes: tuple[int, ...] = ()) -> None:
        self.axes = axes
        self.shape: tuple[int, ...] = ()
        self.count = 0
        self.low = self.high = np.empty((0, 0), np.float32)
        self._samples: list[Tensor] = []

    def update(self, x: Tensor, share: float = 1.0) -> None:
        """Take in ``x``, which is about ``share`` (0..1] of the values that will come in all."""
        groups = grouped(x.detach().float(), self.axes)
        self.shape = broadcast_shape(x, self.axes)
        size = groups.shape[1]
        keep = min(ceil(TAIL * size / share) + 2, ceil(size / share))
        low, high = _ends(groups, keep)
        self.low = np.sort(_joined(self.low, low), axis=1)[:, :keep]
        self.high = np.sort(_joined(self.high, high), axis=1)[:, -keep:]
        self.count += size
        self._samples.append(groups[:, :: _stride(groups.numel() / share, size)].clone())

    @property
    def sample(self) -> Tensor:
        """[groups, values], at most about SAMPLE values in all."""
        return torch.cat(self._samples, dim=1)

    def range(self, p: float | None = None) -> tuple[Tensor, Tensor]:
        """Per group (lo, hi): the quantiles 1 − p and p, linearly interpolated; None: the extremes."""
        if p is None:
            return _tensor(self.low[:, 0]), _tensor(self.high[:, -1])
        below, fraction = _rank(p, self.count)
        from_top = self.count - 1 - below
        hi = _between(self.high[:, -1 - from_top], self.high[:, min(-from_top, -1)], fraction)
        below, fraction = _rank(1.0 - p, self.count)
        lo = _between(self.low[:, below], self.low[:, min(below + 1, self.count - 1)], fraction)
        return _tensor(lo), _tensor(hi)

    def unflatten(self, per_group: Tensor) -> Tensor:
        """A per-group vector in the shape that broadcasts against the tensor watched."""
        return per_group.reshape(self.shape)


def grouped(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """``x`` as [groups, values]: one row per index of ``axes``."""
    if not axes:
        return x.reshape(1, -1)
    groups = int(np.prod([x.shape[axis] for axis in axes]))
    return x.movedim(axes, tuple(range(len(axes)))).reshape(groups, -1)


def broadcast_shape(x: Tensor, axes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape in which one value per group broadcasts against ``x``; () for a single group."""
    if not axes:
        return ()
    kept = {axis % x.ndim for axis in axes}
    return tuple(n if axis in kept else 1 for axis, n in enumerate(x.shape))


def _ends(groups: Tensor, keep: int) -> tuple[np.ndarray, np.ndarray]:
    """The ``keep`` smallest and largest values of every group, unsorted (possibly a few more)."""
    size = groups.shape[1]
    if keep >= size // 2:
        values = groups.cpu().numpy()
        return values, values
    if len(groups) == 1:
        return _ends_of_one(groups[0], keep)
    split = np.partition(groups.cpu().numpy(), (keep - 1, size - keep), axis=1)
    return split[:, :keep], split[:, -keep:]


def _ends_of_one(values: Tensor, keep: int) -> tuple[np.ndarray, np.ndarray]:
    """The k-th largest block maximum is at most the k-th largest value: only what reaches it needs sorting."""
    whole = values[: values.numel() - values.numel() % BLOCK].reshape(-1, BLOCK)
    if len(whole) <= keep:
        values = values.cpu().numpy()[None]
        return values, values
    low, high = (end.cpu().numpy() for end in whole.aminmax(dim=1))
    floor = np.partition(high, -keep)[-keep]
    ceiling = np.partition(low, keep - 1)[keep - 1]
    return values[values <= float(ceiling)].cpu().numpy()[None], values[values >= float(floor)].cpu().numpy()[None]


def _stride(total: float, size: int) -> int:
    stride = max(1, ceil(total / SAMPLE))
    while gcd(stride, size) != 1:  # coprime with every dimension, so no channel or token is skipped
        stride += 1
    return stride


def _joined(kept: np.ndarray, new: np.ndarray) -> np.ndarray:
    return new if kept.size == 0 else np.concatenate((kept, new), axis=1)


def _rank(p: float, count: int) -> tuple[int, np.float32]:
    """The order statistic below quantile ``p`` and the way to the next one, rounded as ``torch.quantile`` does.

    The published methods use that function, and at 8 bits its rounding decides which codes some pixels get: p in
    float32, the rank rounded to float32, its fraction taken before that rounding (a fused multiply-add).
    """
    position = float(np.float32(p)) * (count - 1)
    rank = np.float32(position)
    below = min(int(rank), count - 1)
    return below, np.float32(0.0 if rank == below else position - below)


def _between(a: np.ndarray, b: np.ndarray, fraction: np.float32) -> np.ndarray:
    return a + (b - a) * fraction if fraction < 0.5 else b - (b - a) * (np.float32(1) - fraction)


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
