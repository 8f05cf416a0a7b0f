"""Is a model's answer worse than another's? Told by pictures that were held back."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..common.batch import Batch
from ..common.modes import evaluating
from ..tasks import Outputs, Task

TOGETHER = 16  # pictures that run through a model at a time
TINY = 1e-12  # an error that is none


def answers(task: Task, module: nn.Module, pictures: Batch) -> list[Outputs]:
    """Of each of the ``pictures`` alone."""
    with evaluating(module), torch.no_grad():
        batches = [task.run(module, chunk) for chunk in pictures.split(min(TOGETHER, task.chunk))]
    if task.chunk == 1:
        return batches
    return [
        {name: part[row : row + 1] for name, part in outputs.items()}
        for outputs in batches
        for row in range(len(next(iter(outputs.values()))))
    ]


def log_errors(task: Task, actual: list[Outputs], expected: list[Outputs]) -> Tensor:
    """[n]: logarithms of the task's loss of each picture's answer. Of the errors themselves a few pictures
    would decide."""
    losses = [task.loss(*pair) for pair in zip(actual, expected, strict=True)]
    return torch.stack(losses).double().clamp_min(TINY).log()


def worse(before: Tensor, after: Tensor, doubt: float = 0.0) -> bool:
    """Whether the logarithms of n pictures' errors rose, and by more than ``doubt`` standard errors."""
    rise = after - before
    return bool(rise.mean() > doubt * rise.std() / len(rise) ** 0.5)


def mean_error(logs: Tensor) -> float:
    """The geometric mean of n pictures' errors."""
    return float(logs.mean().exp())
