"""What a quantizer remembers of the calibration stream, per group: exact extremes and a bounded sample.

Quantiles near 0 and 1 are exact over the whole stream (its extreme 0.1 % at both ends are kept), so a range
does not depend on how the pictures were batched; squared errors are ranked on an evenly strided sample of
bounded size.
"""

from __future__ import annotations

from math import ceil, gcd

import numpy as np
import torch
from torch import Tensor

from .extreme_values import ExtremeValues

PERCENTILES = (0.999, 0.9999, 0.99999)  # the candidates of RepQ-ViT's and ADFQ-ViT's range search
EXTREME = 0.001  # quantiles in [0, EXTREME] and [1 - EXTREME, 1] can be asked for
SAMPLE = 2**20  # values kept of one site for ranking candidates


class Statistics:
    """Running statistics of a tensor, one group per index of ``axes`` (none: a single group)."""

    def __init__(self, axes: tuple[int, ...] = (), by_batch: bool = False) -> None:
        """``by_batch``: whether :attr:`batches` will be asked for."""
        self.axes, self._by_batch = axes, by_batch
        self._ends: list[tuple[Tensor, Tensor]] = []  # least and greatest of each batch
        self._sizes: list[int] = []  # of each batch's share of the sample
        self.shape: tuple[int, ...] = ()
        self.count = self._keep = 0
        self._extremes = ExtremeValues()
        self._samples: list[Tensor] = []

    def update(self, x: Tensor, share: float = 1.0) -> None:
        """Take in ``x``, which is about ``share`` (0..1] of the values that will come in all."""
        groups = grouped(x.detach().float(), self.axes)
        self.shape = broadcast_shape(x, self.axes)
        size = groups.shape[1]
        self._keep = max(self._keep, ceil(EXTREME * round(size / share)) + 2)
        self._extremes.update(groups, self._keep)
        self.count += size
        few = groups[:, :: even_stride(groups.numel() / share, size)]
        self._samples.append(few.clone(memory_format=torch.contiguous_format))
        if self._by_batch:
            self._ends.append(groups.aminmax(dim=1))
            self._sizes.append(few.shape[1])

    @property
    def batches(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        """(least, greatest, sample) of every batch: [groups], [groups], [groups, values]."""
        samples = self.sample.split(self._sizes, dim=1)
        return [(*ends, sample) for ends, sample in zip(self._ends, samples, strict=True)]

    @property
    def sample(self) -> Tensor:
        """[groups, values], at most about SAMPLE values in all; not to be written into."""
        if len(self._samples) > 1:
            self._samples = [torch.cat(self._samples, dim=1)]
        return self._samples[0]

    @property
    def device(self) -> torch.device:
        return self._samples[0].device

    def thin(self, values: int) -> None:
        """Keep about ``values`` of the sample, evenly: candidates are ranked faster and less finely."""
        sample = self.sample
        stride = even_stride(sample.numel(), sample.shape[1], values)
        parts = [
            part[:, ::stride] for part in (sample.split(self._sizes, dim=1) if self._sizes else [sample])
        ]
        self._sizes = [part.shape[1] for part in parts] if self._sizes else []
        self._samples = [torch.cat(parts, dim=1) if len(parts) > 1 else parts[0].contiguous()]

    def range(self, p: float | None = None) -> tuple[Tensor, Tensor]:
        """Per group (lo, hi): the quantiles 1 − p and p, linearly interpolated; None: the extremes."""
        low, high = self._extremes.sorted()
        if p is None:
            return _tensor(low[:, 0]), _tensor(high[:, -1])
        # Batches may turn out larger than the first ones led to expect: then fewer extremes were kept.
        below, fraction = _rank(p, self.count)
        from_top = min(self.count - 1 - below, high.shape[1] - 1)
        hi = _between(high[:, -1 - from_top], high[:, min(-from_top, -1)], fraction)
        below, fraction = _rank(1.0 - p, self.count)
        last = low.shape[1] - 1
        lo = _between(low[:, min(below, last)], low[:, min(below + 1, last)], fraction)
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


def even_stride(total: float, size: int, limit: int | None = None) -> int:
    """The least stride that leaves ``limit`` of ``total`` values at most; each of ``size`` has its turn."""
    stride = max(1, ceil(total / (limit or SAMPLE)))
    while gcd(stride, size) != 1:  # coprime with every dimension, so no channel or token is skipped
        stride += 1
    return stride


def _rank(p: float, count: int) -> tuple[int, np.float32]:
    """The order statistic below quantile ``p`` and the way to the next, as ``torch.quantile`` rounds them.

    The published methods use that function, and at 8 bits its rounding decides which codes some pixels get:
    p is rounded to float32, the rank is not.
    """
    position = float(np.float32(p)) * (count - 1)
    below = int(position)
    return below, np.float32(position - below)


def _between(a: np.ndarray, b: np.ndarray, fraction: np.float32) -> np.ndarray:
    return a + (b - a) * fraction if fraction < 0.5 else b - (b - a) * (np.float32(1) - fraction)


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
