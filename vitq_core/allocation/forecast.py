"""What bits will cost, before anything is quantized: measured once, then any table is judged at once."""

from __future__ import annotations

from dataclasses import dataclass

from ..common.batch import Batch
from ..common.monitor import Monitor
from ..graph.prepared import PreparedModel
from ..quantized.cost import cost_of_table, kept_float_bytes
from ..quantized.output_error import LayerError, output_errors
from ..recipes.recipe import Recipe
from .budget import BITS, NO_PINS, Budget, budget_policy
from .table import BitsTable, TableCost, check_table, priced


@dataclass(frozen=True, eq=False)
class Forecast:
    """``omega``: relative importance of layers, summing to 1; ``errors``: of their outputs at 2 to 8 bits,
    ‖O − Ô‖² / ‖O‖²; ``other_bytes``: what a stored model holds beside its weights' codes.
    """

    omega: dict[str, float]
    errors: dict[str, LayerError]
    prepared: PreparedModel
    other_bytes: int

    def within(self, budget: Budget, pinned: BitsTable = NO_PINS) -> BitsTable:
        """The bits that harm least within ``budget``, where the layers in ``pinned`` keep theirs.

        Raises ValueError for a budget that cannot be met, naming the nearest, and for pins that contradict
        each other or name no layer.
        """
        layers = self.prepared.layers
        for name in pinned:
            if name not in layers:
                raise ValueError(f"there is no layer {name!r:.80} to pin")
        return budget_policy(
            self.omega, self.errors, layers, budget, self.other_bytes, self.prepared.shared, pinned
        )

    def harm(self, table: BitsTable) -> float:
        """Σ importance × error of each operand at the bits of ``table``: what the budget policy minimizes.

        It ranks tables; it is no share of answers. Raises ValueError for a table of other layers.
        """
        check_table(table, self.prepared.layers, "the table of bits")
        return sum(self.omega[name] * self._error(name, *bits) for name, bits in table.items())

    def cost(self, table: BitsTable) -> TableCost:
        """As ``table_cost`` has it, but with the size that this recipe's quantizers make."""
        check_table(table, self.prepared.layers, "the table of bits")
        cost = cost_of_table(self.prepared.layers, table)
        return priced(cost, cost.code_bytes + self.other_bytes)

    def _error(self, name: str, weight: int | None, act: int) -> float:
        measured = self.errors[name]
        of_weight = float(measured.weight[weight].mean()) if measured.weight else 0.0
        return of_weight + float(measured.act[act].mean())


def forecast_of(
    weights: dict[str, float],
    prepared: PreparedModel,
    pictures: Batch,
    recipe: Recipe,
    monitor: Monitor,
) -> Forecast:
    """For a prepared model and ``pictures`` to measure output error on, as ``recipe``'s quantizers make it.

    ``weights``: what a unit of relative error in a layer's output counts.
    """
    errors = output_errors(prepared.module, prepared.layers, recipe, pictures, BITS, monitor=monitor)
    total = sum(weights.values())
    omega = {name: weight / total if total else 1.0 for name, weight in weights.items()}
    other_bytes = kept_float_bytes(prepared) + sum(measured.parameter_bytes for measured in errors.values())
    return Forecast(omega, errors, prepared, other_bytes)
