"""LRP-QViT (arXiv 2401.11243): a layer matters as much as gradient and relevance agree at its output."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ..common.batch import Batch
from ..graph.site import Layer
from ..lrp.propagate import propagate
from .sources import SOURCES, Source


@SOURCES.register("relevance")
class RelevanceSource(Source):
    """``mean((G ⊙ R)⁺)`` over the outputs of the layer."""

    title = "Relevance"
    summary = "which layers the answer depends on"

    def scores(self, batch: Batch, targets: Tensor | None) -> dict[str, Tensor]:
        prepared = self.prepared
        return propagate(
            prepared.module, prepared.observed, batch, targets, keep=(), task=prepared.task
        ).scores()

    @staticmethod
    def weights(scores: dict[str, float], layers: Mapping[str, Layer]) -> dict[str, float]:
        """``√(n C)`` for n outputs: C is a mean over them, and a product of two sensitivities, G and R.

        Measured: with C itself the budget policy loses to equal bits (docs/measurements.md).
        """
        return {name: (layers[name].outputs * score) ** 0.5 for name, score in scores.items()}
