"""What the errors of every unit are measured by, worked out once before the first is learned."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from torch import Tensor, nn

from ..data.calibration_set import PictureStore
from ..graph.site import Unit
from ..recipes.schedule import Schedule
from .beyond import Beyond, beyond_blocks
from .sensitivity import LowRank, low_rank
from .unit_inputs import UnitData
from .weighting import Weigh, weights_of


@dataclass
class Measures:
    """By the unit's name, for those that have any."""

    weights: dict[str, Weigh] = field(default_factory=dict)
    information: dict[str, LowRank] = field(default_factory=dict)
    beyond: dict[str, Beyond] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        schedule: Schedule,
        model: nn.Module,
        units: list[Unit],
        blocks: list[str],
        pictures: PictureStore,
        seed: int,
    ) -> Measures:
        """``model``: in full precision; ``blocks``: of it, in their order."""
        beyond = beyond_blocks(model, units, blocks, pictures) if schedule.answers else {}
        if schedule.weighting != "low_rank":
            return cls(weights_of(schedule.weighting, model, units, blocks, pictures, seed), {}, beyond)
        information = low_rank(model, units, pictures, seed)
        halves = {name: partial(_half, found.diagonal) for name, found in information.items()}
        return cls(halves, information, beyond)

    def give(self, unit: str, data: UnitData) -> None:
        """To what the unit is learned from."""
        data.weights = self.weights.get(unit)
        data.information, data.beyond = self.information.get(unit), self.beyond.get(unit)


def _half(diagonal: Tensor, target: Tensor) -> Tensor:
    return diagonal / 2
