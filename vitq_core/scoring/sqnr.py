"""Signal to quantization noise at a layer's output: what toolkits rank layers by, blind to the answer.

For comparison with relevance. The score is noise over signal, so more means: keep more bits here.
"""

from __future__ import annotations

from torch import Tensor

from ..quantized.output_error import output_errors
from ..recipes.recipe import recipe
from .sources import SOURCES, Source

BITS = 4


@SOURCES.register("sqnr")
class SqnrSource(Source):
    """‖O − Ô‖² / ‖O‖² with weight and inputs of one layer alone at 4 bits, ranges from the batch."""

    title = "Rounding noise only"
    summary = "whether or not it changes the answer"
    by_batch = True

    def scores(self, images: Tensor, targets: Tensor | None) -> dict[str, Tensor]:
        prepared, method = self.prepared, recipe("percentile", BITS, BITS)
        measured = output_errors(prepared.module, prepared.layers, method, images, (BITS,), len(images))
        return {name: sum(part[BITS] for part in error.parts) for name, error in measured.items()}
