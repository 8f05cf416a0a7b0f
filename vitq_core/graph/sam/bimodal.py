"""Keys that pile up at two values, each channel on one side (PTQ4SAM, arXiv 2405.03144): found, and folded.

A sign for every channel, in the weights of keys and queries alike, puts both piles on one side, and the
product of queries and keys stays what it was.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.signal import fftconvolve, find_peaks
from torch import Tensor, nn

POINTS = 128  # at which the density is told
LOWEST = 0.01  # share of the densities' sum: less is no peak
APART = 32  # points between two peaks, at least
EXACT = 20_000  # values whose density is a sum over all of them; more are put into bins first
BINS = 16  # of those, for each point
OUTERMOST = (0.0001, 0.9999)  # quantiles: one outlier would make two peaks look like one
RANGES = ("robust", "paper")


@dataclass(frozen=True)
class Piles:
    """``density`` [POINTS] of keys, evenly from the least to the largest, and the places of its ``peaks``."""

    density: np.ndarray
    peaks: tuple[int, ...]

    @property
    def bimodal(self) -> bool:
        return len(self.peaks) == 2


def piles(keys: Tensor, peaks: str = "paper") -> Piles:
    """Of all values of ``keys`` [tokens, channels]. ``peaks``: over which range, one of ``RANGES``.

    Keys that are all the same have no density and no peak. Raises ValueError for another range.
    """
    if peaks not in RANGES:
        raise ValueError(f"peaks must be one of {', '.join(RANGES)}, got {peaks!r}")
    values = keys.detach().double().flatten().cpu().numpy()
    low, high = (values.min(), values.max()) if peaks == "paper" else np.quantile(values, OUTERMOST)
    spread = values.std(ddof=1) if len(values) > 1 else 0.0
    if not spread or high <= low:
        return Piles(np.zeros(POINTS), ())
    width = len(values) ** -0.2 * spread  # Scott's
    density = (_exact if len(values) <= EXACT else _binned)(values, low, high, width)
    found, _ = find_peaks(density, height=LOWEST * density.sum(), distance=APART)
    return Piles(density, tuple(int(place) for place in found))


def _exact(values: np.ndarray, low: float, high: float, width: float) -> np.ndarray:
    places = np.linspace(low, high, POINTS)
    total = np.zeros(POINTS)
    for chunk in np.array_split(values, -(-len(values) // 4096)):
        total += np.exp(-0.5 * ((places[:, None] - chunk) / width) ** 2).sum(1)
    return total / (len(values) * width * (2 * np.pi) ** 0.5)


def _binned(values: np.ndarray, low: float, high: float, width: float) -> np.ndarray:
    """The same of values moved to the nearest of BINS places between two points."""
    fine = (POINTS - 1) * BINS
    step = (high - low) / fine
    reach = int(np.ceil(5 * width / step))
    edges = low + step * (np.arange(-reach, fine + reach + 2) - 0.5)
    counts, _ = np.histogram(values, edges)
    kernel = np.exp(-0.5 * (step * np.arange(-reach, reach + 1) / width) ** 2)
    smooth = fftconvolve(counts, kernel, mode="same")[reach : reach + fine + 1 : BINS]
    return smooth.clip(0) / (len(values) * width * (2 * np.pi) ** 0.5)


def signs(keys: Tensor) -> Tensor:
    """[channels]: of the mean of ``keys`` [P, tokens, channels] over prompts and tokens; 1 where that is 0,
    which must not erase the channel."""
    means = keys.flatten(0, -2).double().mean(0)
    return torch.where(means < 0, -1.0, 1.0).to(keys.dtype)


@torch.no_grad()
def absorb(query: nn.Linear, key: nn.Linear, sign: Tensor) -> None:
    """Into weights and biases of both, in place: ``(q ⊙ γ)(k ⊙ γ)ᵀ = q kᵀ``."""
    for layer in (query, key):
        layer.weight.mul_(sign[:, None])
        if layer.bias is not None:
            layer.bias.mul_(sign)
