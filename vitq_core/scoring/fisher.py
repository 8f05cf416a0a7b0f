"""Fisher information: how much a relative error of a layer's output moves the log-likelihood.

For comparison with relevance. ``Σ (∂ log p(target) / ∂O ⊙ O)²`` per picture: the diagonal of the empirical
Fisher information at the output, in units of the output's own size, so that layers of all scales compare.
"""

from __future__ import annotations

from torch import Tensor

from ..lrp.propagate import output_gradients
from .sources import SOURCES, Source


@SOURCES.register("fisher")
class FisherSource(Source):
    """The diagonal of the empirical Fisher information at the outputs."""

    def scores(self, images: Tensor, targets: Tensor | None) -> dict[str, Tensor]:
        prepared = self.prepared
        passed = output_gradients(prepared.module, prepared.names, images, targets, _log_likelihood)
        return {
            name: (gradient * passed.outputs[name]).square().flatten(1).sum(1)
            for name, gradient in passed.gradients.items()
        }


def _log_likelihood(logits: Tensor, targets: Tensor) -> Tensor:
    return logits.log_softmax(1).gather(1, targets[:, None])
