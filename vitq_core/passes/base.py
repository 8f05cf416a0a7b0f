"""What every pass is given: the run so far. A pass changes it and gives nothing back."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from torch import nn

from ..common.monitor import Monitor
from ..data.calibration_set import CalibrationPictures
from ..graph.prepared import PreparedModel
from ..graph.site import Site
from ..quantized.report import NO_RECONSTRUCTION, Reconstruction, StageRow
from ..quantized.samples import Rows
from ..quantized.simulation import Simulation
from ..recipes.recipe import Recipe
from ..recipes.steps import Pass
from ..reconstruction.progress import Watch

O = TypeVar("O")


@dataclass
class Run:
    """One call of ``quantize`` on its way through the recipe's passes.

    ``given``, ``asked``: the caller's model and recipe; ``prepared``: the one copy that is worked on;
    ``recipe``: with the bits that a pass gave out. ``rows``: activation rows of sites, which calibration
    keeps for passes that weigh candidates on a layer's output. ``state``: the folder for what is learned,
    None: one of its own; ``watch`` hears of it. ``plan``: the passes still to come; a pass may strike some of
    them, and says in ``stages`` why.
    """

    given: nn.Module
    asked: Recipe
    prepared: PreparedModel
    recipe: Recipe
    pictures: CalibrationPictures
    monitor: Monitor
    seed: int = 0
    state: str | Path | None = None
    watch: Watch | None = None
    rows: dict[Site, Rows] = field(default_factory=dict)
    reconstruction: Reconstruction = NO_RECONSTRUCTION
    plan: list[Pass] = field(default_factory=list)
    stages: tuple[StageRow, ...] = ()
    _simulation: Simulation | None = None
    _fp_model: nn.Module | None = None

    @property
    def simulation(self) -> Simulation:
        """The prepared model with the recipe's quantizers, from when it is first asked for."""
        if self._simulation is None:
            self._simulation = Simulation(self.prepared, self.recipe)
            self._simulation.attach()
        return self._simulation

    @property
    def fp_model(self) -> nn.Module:
        """A copy of the module in which nothing is quantized, as it was when this was first asked for: what
        layers and units should give. Passes ask before they change what the model gives in full precision.
        """
        if self._fp_model is None:
            self._fp_model = self.simulation.fp_model()
        return self._fp_model

    def options(self, declared: type[O]) -> O:
        """A pass's own options: those the recipe sets, its defaults for the others."""
        return declared(**self.recipe.options.given_to(declared))

    def follow(self, plan: list[Pass]) -> None:
        """All passes that have something to do, one after the other; progress is shared out by the weights of
        those still to come."""
        whole, done, self.plan = self.monitor, 0.0, plan
        while left := [step for step in self.plan if step.wanted(self)]:
            step, *self.plan = left
            end = done + (1 - done) * step.weight / sum(other.weight for other in left)
            self.monitor = whole.part(done, end)
            step.apply(self)
            done = end
