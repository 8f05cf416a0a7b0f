"""How much each element of a unit's output matters: what its squared errors are weighed by."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from ..common.batch import Batch
from ..data.calibration_set import PictureStore
from ..graph.site import Unit
from ..tasks import task_of
from .sensitivity import outputs_kept, perturbation_weights

PREFIX = 8.0  # patches that a class token counts for: one row among hundreds, but the one that heads read
QUIET = 0.1  # of the median square: a token that is next to nothing does not count without bound
TINY = 1e-30
Weigh = Callable[[Tensor], Tensor]  # a target [B, …] → weights that it can be multiplied with, about 1 each


def weights_of(
    weighting: str,
    model: nn.Module,
    units: list[Unit],
    blocks: list[str],
    pictures: PictureStore,
    seed: int,
) -> dict[str, Weigh]:
    """{unit: its weights}, for those that have any; ``weighting``: one of ``recipes.schedule.WEIGHTINGS``.

    Tokens are weighed in ``blocks`` alone: what is before and after them need not give tokens.
    """
    if weighting == "tokens":
        prefix = getattr(model, "num_prefix_tokens", 0)
        inside = [unit.name for unit in units if any(Unit(block).holds(unit.name) for block in blocks)]
        return dict.fromkeys(inside, partial(by_token, prefix=prefix))
    averages = AVERAGES.get(weighting)
    found = averages(model, units, pictures, seed) if averages else {}
    return {name: partial(_whatever_the_target, weights) for name, weights in found.items()}


def _whatever_the_target(weights: Tensor, target: Tensor) -> Tensor:
    return weights


def by_token(target: Tensor, prefix: int) -> Tensor:
    """[B, T, 1] for tokens [B, T, D], [B, h, w, 1] for [B, h, w, D]: a token's error counts as a share of its
    own square, as the next norm hears it. Few tokens of a real model are hundreds of times as loud as the
    others, and would count alone. The first ``prefix`` of T tokens count `PREFIX` times.
    """
    squares = target.square().mean(-1, keepdim=True)
    of_picture = squares.flatten(
        1
    )  # by itself, or a weight would depend on how pictures are cut into batches
    mean, median = (
        each.view(-1, *[1] * (squares.ndim - 1)) for each in (of_picture.mean(1), of_picture.median(1)[0])
    )
    shares = mean / (squares + QUIET * median).clamp_min(TINY)
    if target.ndim == 3:
        shares[:, :prefix] *= PREFIX
    return shares


def fisher_weights(
    model: nn.Module, units: list[Unit], pictures: PictureStore, seed: int
) -> dict[str, Tensor]:
    """{unit: E[(∂ log p(y) / ∂O)²]}, of mean 1, shaped as one output, or for pictures of several sizes as its
    channels; y is drawn from the model's answers (a
    model of features has a normal distribution around them).

    As BRECQ (arXiv 2102.05426) weighs its errors, but averaged over the pictures, which run through the model
    as many at a time as they were appended.
    """
    generator = torch.Generator().manual_seed(seed)
    gather = _by_picture if pictures.rows is not None else _by_channel
    found = {unit.name: 0.0 for unit in units}
    for chunk in pictures:
        for name, gradients in _gradients(model, units, chunk, generator).items():
            found[name] = found[name] + sum(map(gather, gradients))
    return {name: total / total.mean().clamp_min(1e-30) for name, total in found.items()}


def _gradients(
    model: nn.Module, units: list[Unit], batch: Batch, generator: torch.Generator
) -> dict[str, list[Tensor]]:
    """Of all that each unit gives."""
    task, names = task_of(model), [unit.name for unit in units]
    with torch.enable_grad(), outputs_kept(model, names) as outputs:
        answer = task.run(model, batch)
        likelihood = task.likelihood(answer, task.sample(answer, generator)).sum()
        gradients = iter(torch.autograd.grad(likelihood, [part for name in names for part in outputs[name]]))
    return {name: [next(gradients) for _ in outputs[name]] for name in names}


def _by_picture(gradient: Tensor) -> Tensor:
    return gradient.square().sum(0)


def _by_channel(gradient: Tensor) -> Tensor:
    """Of [B, C, h, w] as a convolution gives them [C, 1, 1], of […, C] elsewhere [C]."""
    squares = gradient.square()
    return squares.flatten(0, -2).mean(0)


# Weights that are means over the pictures, and the same for all of them.
AVERAGES = {"fisher": fisher_weights, "perturbation": perturbation_weights}
