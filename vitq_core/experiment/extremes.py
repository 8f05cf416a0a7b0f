"""Between which values the inputs of a model's layers lie, picture by picture."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import lgamma

import torch
from torch import Tensor, nn

from ..common.hooks import hooked

LAYERS = (nn.Linear, nn.Conv2d)  # whose inputs are looked at: under the same names in any model


@dataclass(frozen=True, eq=False)
class Extremes:
    """``lows`` and ``highs`` [N, L]: the least and the greatest input of each of the layers ``names`` at N
    pictures."""

    names: tuple[str, ...]
    lows: Tensor
    highs: Tensor

    def __len__(self) -> int:
        return len(self.lows)

    def beyond(self, others: Extremes) -> float:
        """The share of the ends of ranges, of ``others`` layer by layer, that lie beyond all of these."""
        outside = torch.stack((others.highs > self.highs.amax(0), others.lows < self.lows.amin(0)))
        return float(outside.double().mean())

    def excess(self, others: Extremes) -> float:
        """What of the ranges of as many of ``others`` as there are of these lies beyond these ranges, and
        would be cut off: a mean over layers."""
        count = min(len(self), len(others))
        highs, lows = expected_greatest(others.highs, count), -expected_greatest(-others.lows, count)
        cut = (highs - self.highs.amax(0)).clamp_min(0) + (self.lows.amin(0) - lows).clamp_min(0)
        return float((cut / (highs - lows).clamp_min(torch.finfo(highs.dtype).tiny)).mean())


def expected_greatest(values: Tensor, count: int) -> Tensor:
    """[L]: the mean of the greatest of ``count`` of ``values`` [N, L], over all choices of so many."""
    total = len(values)
    # The k-th smallest is the greatest of C(k − 1, count − 1) of the C(total, count) choices.
    ranks = range(count, total + 1)
    chances = [log_choices(rank - 1, count - 1) - log_choices(total, count) for rank in ranks]
    weights = torch.tensor(chances, dtype=torch.float64).exp()
    return weights @ values.double().sort(0).values[count - 1 :]


def log_choices(total: int, count: int) -> float:
    """The logarithm of how many choices there are of ``count`` out of ``total``."""
    return lgamma(total + 1) - lgamma(count + 1) - lgamma(total - count + 1)


@dataclass
class SeenExtremes:
    """Of the pictures that pass through a model, of at most ``limit``."""

    limit: int
    _rows: list[dict[str, Tensor]] = field(default_factory=list)  # [B, 2] of each layer, a batch each
    _seen: int = 0

    @property
    def full(self) -> bool:
        return self._seen >= self.limit

    def begin(self) -> None:
        """A batch comes."""
        self._rows.append({})

    def add(self, name: str, values: Tensor, pictures: int) -> None:
        """The inputs of a layer for so many ``pictures``, each of which has as many rows of them."""
        low, high = torch.aminmax(values.detach().reshape(pictures, -1), dim=1)
        found = torch.stack((-low, high), 1).float().cpu()
        before = self._rows[-1].get(name)
        self._rows[-1][name] = found if before is None else torch.maximum(before, found)

    def end(self, pictures: int) -> None:
        """The batch is done."""
        self._seen += pictures

    @property
    def extremes(self) -> Extremes | None:
        """None before the first picture. Of layers that saw every picture."""
        names = sorted(set.intersection(*map(set, self._rows))) if self._rows else []
        if not names:
            return None
        whole = torch.stack([torch.cat([batch[name] for batch in self._rows]) for name in names], 1)
        return Extremes(tuple(names), -whole[: self.limit, :, 0], whole[: self.limit, :, 1])


@contextmanager
def watching_extremes(module: nn.Module, limit: int) -> Iterator[SeenExtremes]:
    """Remembers those of every forward pass inside, one row for each picture."""
    seen, pictures = SeenExtremes(limit), [0]

    def begin(part: nn.Module, inputs: tuple) -> None:
        pictures[0] = 0 if seen.full else len(inputs[0])
        if pictures[0]:
            seen.begin()

    def look(name: str, values: object) -> None:
        # Windows of a picture are rows of their own, so there are many for each picture.
        if pictures[0] and isinstance(values, Tensor) and len(values) % pictures[0] == 0:
            seen.add(name, values, pictures[0])

    layers = [
        (part, lambda part, inputs, name=name: look(name, inputs[0]))
        for name, part in module.named_modules()
        if isinstance(part, LAYERS)
    ]
    with hooked((module, lambda *_: seen.end(pictures[0])), before=[(module, begin), *layers]):
        yield seen
