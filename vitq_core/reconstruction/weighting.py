"""How much each element of a unit's output matters to the answer: the diagonal of the Fisher information."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..common.batch import Batch
from ..common.hooks import hooked
from ..data.store import ActivationStore
from ..graph.site import Unit
from ..tasks import task_of


def fisher_weights(
    model: nn.Module, units: list[Unit], pictures: ActivationStore, seed: int, device: torch.device
) -> dict[str, Tensor]:
    """{unit: E[(∂ log p(y) / ∂O)²]}, shaped as one output, of mean 1; y is drawn from the model's answers (a
    model of features has a normal distribution around them).

    As BRECQ (arXiv 2102.05426) weighs its errors, but averaged over the pictures, which run through the model
    as many at a time as they were appended.
    """
    generator = torch.Generator().manual_seed(seed)
    found = {unit.name: 0.0 for unit in units}
    for chunk in pictures:
        for name, gradient in _gradients(model, units, chunk.to(device), generator).items():
            found[name] = found[name] + gradient.square().sum(0)
    return {name: total / total.mean().clamp_min(1e-30) for name, total in found.items()}


def _gradients(
    model: nn.Module, units: list[Unit], images: Tensor, generator: torch.Generator
) -> dict[str, Tensor]:
    outputs, task = {}, task_of(model)

    def keep(name: str, output: Tensor) -> Tensor:
        outputs[name] = output if output.requires_grad else output.requires_grad_()
        return outputs[name]

    hooks = [
        (model.get_submodule(unit.name), lambda _, __, output, name=unit.name: keep(name, output))
        for unit in units
    ]
    with torch.enable_grad(), hooked(*hooks):
        answer = task.run(model, Batch((images,)))
        likelihood = task.likelihood(answer, task.sample(answer, generator)).sum()
        gradients = torch.autograd.grad(likelihood, list(outputs.values()))
    return dict(zip(outputs, gradients, strict=True))
