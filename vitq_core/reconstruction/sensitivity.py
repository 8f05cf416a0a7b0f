"""What the answers of a whole model say of an error in one unit's output: more than the error's own square.

Both measures use the loss of the model's task between its answers and others near them, so that models of
every task have them; the papers take the divergence of a classifier's answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from ..common.batch import Batch
from ..common.hooks import hooked
from ..data.calibration_set import PictureStore
from ..data.store import TreeStore
from ..graph.site import Unit
from ..tasks import Outputs, Task, task_of

NUDGES = 5  # directions in which a picture's answers are moved: the rank of its information
PERTURBED = 32  # pictures whose units are perturbed, each in a pass of its own
NEAR = 0.03  # of its root mean square: how far an answer or an output is moved
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


@dataclass
class LowRank:
    """Fisher information of one unit's outputs, as FIMA-Q's loss takes it (arXiv 2506.11543): an error Δ of a
    picture counts as ``½ Σ diagonal ⊙ Δ² + ½ · scale · mean_k (u_k · Δ)²``.

    ``factors``: of every picture, for each tensor that the unit gives, u [k, …]. The paper takes directions
    from the error of the quantized block; these are gradients at answers moved at random, so that E[u uᵀ] is
    the information of the float model. ``diagonal``: E[u²] over the pictures, of mean 1. ``scale``: so that
    an error without direction counts as its square.
    """

    factors: TreeStore
    diagonal: Tensor
    scale: float

    def squares(self, difference: Tensor, factors: Tensor) -> Tensor:
        """[B, …], to be summed, for errors [B, …] and ``factors`` [B, k, …] of these pictures."""
        along = (factors * difference.unsqueeze(1)).flatten(2).sum(2)
        return along.square().mean(1) * (self.scale / 2)

    def error(self, difference: Tensor, target: Tensor, factors: Tensor) -> tuple[float, float]:
        """Summed over the pictures, of errors and of the targets themselves."""
        error, signal = (self.squares(each, factors).sum() for each in (difference, target))
        return float(error), float(signal)


def low_rank(model: nn.Module, units: list[Unit], pictures: PictureStore, seed: int) -> dict[str, LowRank]:
    """{unit: its information}, from the answers to all ``pictures``."""
    generator, task = torch.Generator().manual_seed(seed), task_of(model)
    gather = _squared if pictures.rows is not None else _squared_by_channel
    stores = {unit.name: pictures.new() for unit in units}
    totals = {unit.name: 0.0 for unit in units}
    for chunk in pictures:
        for name, factors in _nudged(model, [*stores], chunk, task, generator).items():
            stores[name].append(factors)
            totals[name] = totals[name] + sum(map(gather, factors))
    return {name: _information(stores[name], total, len(pictures)) for name, total in totals.items()}


def _information(factors: TreeStore, total: Tensor, pictures: int) -> LowRank:
    """``total``: the sum of squares over the pictures."""
    mean = total.mean().clamp_min(TINY)
    return LowRank(factors, total / mean, float(pictures / mean))


def _squared(factors: Tensor) -> Tensor:
    return factors.square().mean(1).sum(0)


def _squared_by_channel(factors: Tensor) -> Tensor:
    return factors.square().flatten(0, -2).mean(0)


def _nudged(
    model: nn.Module, names: list[str], batch: Batch, task: Task, generator: torch.Generator
) -> dict[str, list[Tensor]]:
    """Of all that each unit gives, the gradients [B, NUDGES, …]."""
    with torch.enable_grad(), outputs_kept(model, names) as outputs:
        answers = task.run(model, batch)
        expected = {name: part.detach() for name, part in answers.items()}
        parts = [part for name in names for part in outputs[name]]
        drawn = [
            torch.autograd.grad(
                task.loss(_moved(answers, generator), expected), parts, retain_graph=True, allow_unused=True
            )
            for _ in range(NUDGES)
        ]
    found = iter(
        torch.zeros_like(part).unsqueeze(1).expand(-1, NUDGES, *part.shape[1:])
        if gradients[0] is None
        else torch.stack(gradients, 1)
        for part, gradients in zip(parts, zip(*drawn, strict=True), strict=True)
    )
    return {name: [next(found) for _ in outputs[name]] for name in names}


def _moved(answers: Outputs, generator: torch.Generator) -> Outputs:
    """Each by a random step; not what counts or chooses."""

    def move(part: Tensor) -> Tensor:
        if not part.is_floating_point():
            return part
        return part + NEAR * _size(part) * torch.randn(part.shape, generator=generator).to(part)

    return {name: move(part) for name, part in answers.items()}


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
