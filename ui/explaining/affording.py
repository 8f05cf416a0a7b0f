"""What bits will cost a model, measured once: then every budget has its bits, and any bits their price."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import vitq_core as vq
from vitq_core.experiment import MAX_BITS, MIN_BITS, OutOfReach
from vitq_core.experiment.measure import Cancel, Progress, part_of
from vitq_core.experiment.runs import Prediction, predicted_from

from ..parts.bits_table import BitsTable
from ..parts.cache import Cache
from .layers import MEASURED, RelevanceBench
from .scoring import Scoring

METHOD = "vitq"  # whose quantizers are measured, and which makes the models
STEP = 0.25  # bits between two budgets
STEPS = tuple(MIN_BITS + STEP * i for i in range(round((MAX_BITS - MIN_BITS) / STEP) + 1))
KEPT, KEPT_TABLES = 4, 2000
SCORED = 0.6  # how much of measuring is done when layers are scored
Pins = tuple[tuple[str, int | None, int], ...]


@dataclass(frozen=True, eq=False)
class Affordable:
    """Bits for every layer within a budget of `bits` on average, for weights as for activations."""

    bits: float
    table: BitsTable
    cost: vq.TableCost
    harm: float


class Affording:
    """Shared by everybody, keyed by models, pictures and what is pinned."""

    def __init__(self, relevance: RelevanceBench):
        self.relevance = relevance
        self._forecasts: Cache[vq.Forecast] = relevance.store.memory.cache(KEPT)
        self._tables: Cache[Affordable] = Cache(KEPT_TABLES)

    def known(self, scoring: Scoring) -> vq.Forecast | None:
        """What was measured of this model with these pictures before."""
        return self._forecasts.get(scoring)

    def measure(
        self, scoring: Scoring, progress: Progress | None = None, cancel: Cancel | None = None
    ) -> vq.Forecast:
        """Which layers matter, and what each number of bits does to them. Raises vq.Cancelled."""
        return self._forecasts.get_or_make(scoring, lambda: self._measure(scoring, progress, cancel))

    def _measure(self, scoring: Scoring, progress: Progress | None, cancel: Cancel | None) -> vq.Forecast:
        relevance = self.relevance
        scores = relevance.score(scoring, part_of(progress, 0, SCORED), cancel)
        with relevance.store.computing(scoring.uploads):
            said = part_of(progress, SCORED, 1)
            pictures = relevance.batches(scoring, MEASURED, said, cancel)
            model = relevance.store.model(scoring.model)
            return vq.forecast_bits(scores, model, pictures, METHOD, said, cancel)

    def within(self, scoring: Scoring, bits: float, pins: Pins = ()) -> Affordable:
        """Raises ValueError where pins leave no room, KeyError where nothing was measured of the model."""
        forecast = self.known(scoring)
        if forecast is None:
            raise KeyError(scoring.model)
        return self._tables.get_or_make(
            (scoring, id(forecast), bits, pins), lambda: _within(forecast, bits, pins)
        )

    def for_size(self, scoring: Scoring, megabytes: float, pins: Pins = ()) -> Affordable:
        """The most bits that fit. Raises ValueError, naming what would, where even the fewest do not."""
        return self._search(scoring, pins, lambda found: found.cost.size_mb <= megabytes, most=True)

    def for_loss(
        self, scoring: Scoring, points: float, prediction: Prediction, pins: Pins = ()
    ) -> Affordable:
        """The fewest bits that are predicted to lose at most so many points; the most where none are."""

        def fits(found: Affordable) -> bool:
            lost = prediction.points(found.harm)
            return lost is not None and lost <= points

        return self._search(scoring, pins, fits, most=False)

    def _search(self, scoring: Scoring, pins: Pins, fits: object, most: bool) -> Affordable:
        """By halving: size rises with bits, loss falls."""
        steps = self._possible(scoring, pins)
        low, high = 0, len(steps) - 1
        if most and not fits(self.within(scoring, steps[0], pins)):
            return self.within(scoring, steps[0], pins)
        while low < high:
            middle = (low + high + most) // 2
            good = fits(self.within(scoring, steps[middle], pins))
            if most:
                low, high = (middle, high) if good else (low, middle - 1)
            else:
                low, high = (low, middle) if good else (middle + 1, high)
        return self.within(scoring, steps[low], pins)

    def _possible(self, scoring: Scoring, pins: Pins) -> Sequence[float]:
        """The budgets that pins leave room for. Raises ValueError where there is none."""
        for first, step in enumerate(STEPS):
            try:
                self.within(scoring, step, pins)
            except OutOfReach:
                continue
            return STEPS[first:]
        raise ValueError("The pinned layers leave no room: give them fewer bits.")


def prediction_for(forecast: vq.Forecast, runs: Sequence[tuple[BitsTable, float]]) -> Prediction | None:
    """From the bits of runs and the points they lost; None from too few."""
    known = []
    for table, lost in runs:
        try:
            known.append((forecast.harm(table), lost))
        except ValueError:  # of other layers: the model was another one then
            continue
    return predicted_from(known)


def _within(forecast: vq.Forecast, bits: float, pins: Pins) -> Affordable:
    pinned = {layer: (weight, act) for layer, weight, act in pins}
    table = forecast.within(vq.Budget(avg_weight_bits=bits, avg_act_bits=bits), pinned)
    return Affordable(bits, table, forecast.cost(table), forecast.harm(table))
