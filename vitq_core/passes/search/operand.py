"""One factor of a layer's product: its quantizer, what may be tried, what was chosen."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...graph.site import Site
from ...quantizers import Quantizer

HEADS, COLUMNS = -3, -1  # axes of a product along which groups may lie
Parameters = dict[str, Tensor]  # by name, [groups] each, or [candidates, groups]


@dataclass
class Operand:
    """``axis``: where in the factor, and in the product, the groups lie, which have scales of their own;
    None: there is one. ``size``: of that axis. ``tried``: what its quantizer proposes; None: it fits itself
    and counts as full precision in a search. ``chosen``: the number of a candidate for each group [groups],
    -1 for the one that a search starts from (``start``); None: not quantized yet.
    """

    site: Site
    quantizer: Quantizer
    axis: int | None
    size: int
    tried: Parameters | None = None
    start: Parameters | None = None
    chosen: Tensor | None = None

    @property
    def searched(self) -> bool:
        return self.tried is not None

    @property
    def groups(self) -> int:
        return self._first.shape[1]

    @property
    def candidates(self) -> int:
        return self._first.shape[0]

    @property
    def _first(self) -> Tensor:
        return next(iter(self.tried.values()))

    def propose(self, low: Tensor, high: Tensor, factors: Tensor) -> None:
        """For extremes [groups] of the factor."""
        self.tried = self.quantizer.candidates(low, high, factors)
        if self.tried is not None:
            begin = self.quantizer.candidates(low, high, torch.ones_like(factors[:1]))
            self.start = {name: values[0] for name, values in begin.items()}

    def begin(self) -> None:
        """With the range that reaches the extremes; full precision where there are no candidates."""
        if self.searched:
            self.chosen = torch.full((self.groups,), -1)

    @property
    def near(self) -> int | None:
        """The candidate that all groups took in the search before; None where there was none."""
        before = -1 if self.chosen is None else int(self.chosen[0])
        return None if before < 0 else before

    def choose(self, numbers: Tensor) -> None:
        """Of a candidate for each group."""
        self.chosen = numbers

    @property
    def parameters(self) -> Parameters:
        """[groups] each: what was chosen."""
        number = self.chosen.clamp_min(0)[None].to(self._first.device)
        found = {name: values.gather(0, number)[0] for name, values in self.tried.items()}
        begun = (self.chosen < 0).to(self._first.device)
        return {name: torch.where(begun, self.start[name], values) for name, values in found.items()}

    def now(self, x: Tensor) -> Tensor:
        """``x`` as it is with what was chosen."""
        return x if self.chosen is None else self._rounded(x, self.parameters)

    def each(self, x: Tensor, numbers: Tensor) -> Tensor:
        """[numbers, …]: ``x`` with each of these candidates."""
        return self._rounded(x, {name: values[numbers] for name, values in self.tried.items()})

    def _rounded(self, x: Tensor, parameters: Parameters) -> Tensor:
        spread = {name: self.spread(values, x.ndim) for name, values in parameters.items()}
        return self.quantizer.rounded(x, **spread)

    def spread(self, values: Tensor, dimensions: int) -> Tensor:
        """[…, groups] in a shape that broadcasts against a factor of so many ``dimensions``."""
        lead = values.shape[:-1]
        if self.axis is None:
            return values.reshape(*lead, *[1] * dimensions)
        values = values.repeat_interleave(self.size // values.shape[-1], dim=-1)
        before, after = dimensions + self.axis, -1 - self.axis
        return values.reshape(*lead, *[1] * before, self.size, *[1] * after)

    def settle(self, like: Tensor) -> None:
        """Give the quantizer what was chosen, for tensors shaped as ``like``."""
        self.quantizer.settle(self.parameters, like)


def extremes(x: Tensor, axis: int | None, groups: int) -> tuple[Tensor, Tensor]:
    """(least, greatest) of each of the ``groups`` evenly along ``axis``: [groups] each."""
    if axis is None:
        low, high = x.aminmax()
        return low[None], high[None]
    rows = x.movedim(axis, 0).reshape(groups, -1)
    return rows.amin(1), rows.amax(1)
