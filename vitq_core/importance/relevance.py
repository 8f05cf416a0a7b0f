"""LRP-QViT (arXiv 2401.11243): a layer matters as much as gradient and relevance agree at its output."""

from __future__ import annotations

from torch import Tensor

from ..relevance.propagate import propagate
from .sources import SOURCES, Source


@SOURCES.register("relevance")
class RelevanceSource(Source):
    """``mean((G ⊙ R)⁺)`` over the outputs of the layer."""

    def scores(self, images: Tensor, targets: Tensor | None) -> dict[str, Tensor]:
        return propagate(self.subject.module, self.subject.observed, images, targets).scores()
