"""Uniform affine quantizer with one scale for each of several equal parts of a weight's rows: for queries,
keys and values, which one layer makes (PTQ4ViT, arXiv 2111.12293)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..common.options import one_of, whole
from .base import QUANTIZERS
from .judges import Judge
from .statistics import Statistics
from .uniform import Uniform

RANGES = ("minmax", "percentile")
MOST_GROUPS = 2**16


@QUANTIZERS.register("row_groups")
class RowGroups(Uniform):
    """``Uniform`` with one (s, z) for each of ``groups`` parts of axis 0, which they divide evenly; with 1,
    as ``Uniform``. Parameters are held once for each row, and stored once for each part."""

    SETTINGS = {**Uniform.SETTINGS, "range": one_of(RANGES), "groups": whole(1, MOST_GROUPS)}

    def __init__(self, bits: int, groups: int = 1, axis: int | None = None, range: str = "minmax") -> None:
        groups = whole(1, MOST_GROUPS)("groups", groups)
        super().__init__(bits, 0 if groups > 1 else axis, one_of(RANGES)("range", range))
        self.groups = groups
        self._rows = 0  # in each part

    def observe(self, x: Tensor, share: float = 1.0) -> None:
        if self.groups > 1:
            self._rows = len(x) // self.groups
            x = x.unflatten(0, (self.groups, self._rows))
        super().observe(x, share)

    def _solve(self, statistics: Statistics, judge: Judge | None = None) -> None:
        super()._solve(statistics)
        if self.groups > 1:
            for name in self.PARAMETERS:
                setattr(self, name, self._by_row(getattr(self, name).squeeze(1), self._rows))

    def _by_row(self, values: Tensor, rows: int) -> Tensor:
        """``values`` of each part, [groups, 1, …], for each of its rows: [groups · rows, 1, …]."""
        return values.repeat_interleave(rows, dim=0)

    def settle(self, parameters: dict[str, Tensor], like: Tensor) -> None:
        if self.groups > 1:
            rows = len(like) // self.groups
            parameters = {name: self._by_row(values, rows) for name, values in parameters.items()}
        super().settle(parameters, like)

    def stored_tensors(self) -> dict[str, Tensor]:
        found = super().stored_tensors()
        return {name: self._by_part(values) for name, values in found.items()}

    def _by_part(self, values: Tensor) -> Tensor:
        """Once for each part; as they are where its rows differ, as learned ones may."""
        if self.groups == 1:
            return values
        parts = values.unflatten(0, (self.groups, -1))
        same = torch.equal(parts, parts[:, :1].expand_as(parts))
        return parts[:, 0].contiguous() if same else values

    def restore(self, tensors: dict[str, Tensor], settings: dict[str, Any], shape: Sequence[int]) -> None:
        groups = self.SETTINGS["groups"]("groups", settings["groups"])
        if groups > 1 and shape and shape[0] % groups == 0:
            rows = shape[0] // groups
            tensors = {
                name: self._by_row(each, rows) if each.ndim and len(each) == groups and rows > 1 else each
                for name, each in tensors.items()
            }
        super().restore(tensors, settings, shape)
