"""Fisher information: how much a relative error of a layer's output moves the log-likelihood.

For comparison with relevance. ``Σ (∂ log p(target) / ∂O ⊙ O)²`` per picture: the diagonal of the empirical
Fisher information at the output, in units of the output's own size, so that layers of all scales compare.
Where a model has no targets to choose from, the answer is drawn: for features a random direction v, and
``Σ (∂(v·f) / ∂O ⊙ O)²``, whose mean is the diagonal of JᵀJ.
"""

from __future__ import annotations

from functools import partial
from zlib import crc32

import torch
from torch import Tensor

from ..common.batch import Batch
from ..lrp.propagate import output_gradients
from ..tasks import Outputs, Task
from .sources import SOURCES, Source


@SOURCES.register("fisher")
class FisherSource(Source):
    """The diagonal of the Fisher information at the outputs."""

    title = "Sensitivity (Fisher)"
    summary = "where a small error changes the answer most"

    def scores(self, batch: Batch, targets: Tensor | None) -> dict[str, Tensor]:
        prepared, likelihood = self.prepared, partial(self._likelihood, batch)
        passed = output_gradients(prepared.module, prepared.names, batch, targets, likelihood, prepared.task)
        return {
            name: (gradient * passed.outputs[name]).square().reshape(len(batch), -1).sum(1)
            for name, gradient in passed.gradients.items()
        }

    def _likelihood(self, batch: Batch, answer: Outputs, targets: Tensor | None) -> Tensor:
        task = self.prepared.task
        return task.likelihood(answer, drawn_answers(task, batch, answer) if targets is None else targets)


def drawn_answers(task: Task, batch: Batch, answer: Outputs) -> Tensor:
    """An answer for each picture, drawn from its pixels: the same one in whatever batch it comes."""
    drawn, pictures = [], [pixels.detach().cpu() for pixels in batch.pictures]
    if task.chunk == 1:
        return task.sample(answer, _generator(pictures[0]))
    for index, picture in enumerate(pictures[0]):
        one = {name: part[index : index + 1] for name, part in answer.items()}
        drawn.append(task.sample(one, _generator(picture)))
    return torch.cat(drawn)


def _generator(picture: Tensor) -> torch.Generator:
    return torch.Generator().manual_seed(crc32(picture.contiguous().numpy().tobytes()))
