"""What the answers of a whole model say of an error in one unit's output: more than the error's own square.

It is found by the loss of the model's task between its answers and others near them, so that models of every
task have it; the paper takes the divergence of a classifier's answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from ..common.batch import Batch
from ..common.hooks import hooked
from ..data.calibration_set import PictureStore
from ..graph.site import Unit
from ..tasks import Outputs, Task, task_of

PERTURBED = 32  # pictures whose units are perturbed, each in a pass of its own
NEAR = 0.03  # of its root mean square: how far an output is moved
TINY = 1e-30


def perturbation_weights(
    model: nn.Module, units: list[Unit], pictures: PictureStore, seed: int
) -> dict[str, Tensor]:
    """{unit: E|∂ℓ(f(O + ε), f(O)) / ∂O|}, of mean 1, shaped as one output, or for pictures of several sizes
    as its channels.

    APHQ-ViT's average perturbation Hessian (arXiv 2504.02508): at O itself the gradient of the loss ℓ is 0,
    so that at O + ε it is Hε. The signs of ε are drawn: the LayerNorms that read a residual stream do not see
    one shift of all channels. Sizes are averaged over the pictures, not products with ε: of a Hessian of few
    directions those would be next to nothing but what lies off its diagonal.
    """
    drawing = {unit.name: torch.Generator().manual_seed(seed) for unit in units}
    task, seen = task_of(model), 0
    gather = _by_picture if pictures.rows is not None else _by_channel
    found = {unit.name: 0.0 for unit in units}
    for chunk in pictures:
        chunk = chunk[: PERTURBED - seen]
        seen += len(chunk)
        with torch.no_grad():
            expected = task.run(model, chunk)
        for name, generator in drawing.items():
            gradients = _perturbed(model, name, chunk, task, expected, generator)
            found[name] = found[name] + sum(map(gather, gradients))
        if seen == PERTURBED:
            break
    return {name: total / total.mean().clamp_min(TINY) for name, total in found.items()}


def _by_picture(gradient: Tensor) -> Tensor:
    return gradient.abs().sum(0)


def _by_channel(gradient: Tensor) -> Tensor:
    return gradient.abs().flatten(0, -2).mean(0)


def _perturbed(
    model: nn.Module, name: str, batch: Batch, task: Task, expected: Outputs, generator: torch.Generator
) -> list[Tensor]:
    """Hε of all that the unit gives, for an ε of signs alone."""
    moved: list[tuple[Tensor, Tensor]] = []

    def move(output: Tensor) -> Tensor:
        step = NEAR * _size(output)
        signs = torch.randint(2, output.shape, generator=generator).to(output) * 2 - 1
        moved.append(((output.detach() + step * signs).requires_grad_(), step))
        return moved[-1][0]

    def replaced(_: nn.Module, __: tuple, output: object) -> object:
        return tree_map_only(Tensor, move, output)

    with torch.enable_grad(), hooked((model.get_submodule(name), replaced)):
        loss = task.loss(task.run(model, batch), expected)
        gradients = torch.autograd.grad(loss, [output for output, _ in moved])
    return [gradient / step for gradient, (_, step) in zip(gradients, moved, strict=True)]


def _size(values: Tensor) -> Tensor:
    """[B, 1, …]: the root mean square of each picture's."""
    squares = values.detach().square().reshape(len(values), -1).mean(1)
    return squares.clamp_min(TINY).sqrt().view(-1, *[1] * (values.ndim - 1))


@contextmanager
def outputs_kept(model: nn.Module, names: Iterable[str]) -> Iterator[dict[str, list[Tensor]]]:
    """{module: the tensors that it gave}, of a forward inside, which gradients can be asked for."""
    outputs: dict[str, list[Tensor]] = {}

    def keep(name: str, output: object) -> None:
        outputs[name] = [part for part in tree_leaves(output) if isinstance(part, Tensor)]
        for part in outputs[name]:
            if not part.requires_grad:
                part.requires_grad_()

    hooks = [
        (model.get_submodule(name), lambda _, __, output, name=name: keep(name, output)) for name in names
    ]
    with hooked(*hooks):
        yield outputs
