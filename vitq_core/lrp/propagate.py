"""One batch: the gradient of the target logits and their relevance, at the output of every layer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..common.errors import VitqError
from ..common.hooks import hooked
from .mode import Recording, RelevanceMode

NOT_FOLLOWED = "relevance cannot follow this model's forward; does it change tensors in place?"
Objective = Callable[[Tensor, Tensor], Tensor]  # (logits [B, classes], targets [B]) → [B]


@dataclass
class Propagated:
    """``gradients``, ``relevances``: {name: [B, …]}; ``pixels``: relevance of the pictures [B, C, H, W].

    ``scored``: {name: [B]}, the scores of those that were not kept.
    """

    targets: Tensor
    gradients: dict[str, Tensor]
    relevances: dict[str, Tensor]
    pixels: Tensor | None = None
    scored: dict[str, Tensor] = field(default_factory=dict)

    def scores(self) -> dict[str, Tensor]:
        """{name: [B]}: ``mean((G ⊙ R)⁺)``, the importance of a layer for a picture (LRP-QViT)."""
        kept = {name: positive_mean(g, self.relevances[name]) for name, g in self.gradients.items()}
        return {**self.scored, **kept}


def positive_mean(gradient: Tensor, relevance: Tensor) -> Tensor:
    return (gradient * relevance).clamp_(min=0).flatten(1).mean(1)


class Passed(NamedTuple):
    """A forward and backward pass: ``gradients`` of the objective and ``outputs``, {name: [B, …]}."""

    targets: Tensor
    gradients: dict[str, Tensor]
    outputs: dict[str, Tensor]
    logits: Tensor


def propagate(
    module: nn.Module,
    names: list[str],
    images: Tensor,
    targets: Tensor | None = None,
    to_pixels: bool = False,
    keep: Collection[str] | None = None,
) -> Propagated:
    """Explain the logit of ``targets`` [B] (the predictions by default) for ``images`` [B, C, H, W].

    ``names``: the submodules at whose outputs to look; of those not in ``keep`` (all) only the scores stay,
    which takes far less memory. The module must not require grad anywhere.
    """
    with Recording() as recording:
        passed = output_gradients(module, names, images, targets, _logit)
    targets, gradients, expected = passed.targets, passed.gradients, passed.logits
    del passed
    pictures = images.detach().requires_grad_()
    with torch.enable_grad(), _in_place_as_a_sentence():
        with captured(module, names) as outputs, RelevanceMode(recording.products):
            logits = module(pictures)
        _check_followed(logits, expected)
        kept = {name: outputs[name] for name in outputs if keep is None or name in keep}
        # 0 until its relevance arrives, and for good where none does.
        scored = dict.fromkeys((n for n in names if n not in kept), logits.new_zeros(len(logits)))
        for name in outputs.keys() & scored.keys():
            outputs[name].register_hook(_scoring(name, gradients, scored))
        outputs.clear()
        recording.products.clear()
        start = torch.zeros_like(logits).scatter_(1, targets[:, None], 1.0)
        wanted = [*kept.values(), pictures] if to_pixels or not kept else list(kept.values())
        found = torch.autograd.grad(logits, wanted, start, allow_unused=True)
    own = {name: gradients[name] for name in kept}
    return Propagated(targets, own, _filled(kept, found), found[-1] if to_pixels else None, scored)


def _scoring(name: str, gradients: dict[str, Tensor], scored: dict[str, Tensor]) -> Callable:
    """A hook that scores a layer as its relevance passes, and forgets its gradient."""

    def score(relevance: Tensor) -> None:
        scored[name] = positive_mean(gradients.pop(name), relevance)

    return score


def output_gradients(
    module: nn.Module, names: list[str], images: Tensor, targets: Tensor | None, objective: Objective
) -> Passed:
    """Of the objective for ``targets`` [B] or the predictions, at the outputs of ``names``."""
    with torch.enable_grad(), captured(module, names) as outputs:
        logits = checked_logits(module(images.detach().requires_grad_()))
        targets = logits.argmax(1) if targets is None else check_targets(targets, logits.shape[1])
        found = torch.autograd.grad(
            objective(logits, targets).sum(), list(outputs.values()), allow_unused=True
        )
    plain = {name: output.detach() for name, output in outputs.items()}
    return Passed(targets, _filled(outputs, found), plain, logits.detach())


def _filled(outputs: dict[str, Tensor], found: tuple[Tensor | None, ...]) -> dict[str, Tensor]:
    """{name: what arrived there}, 0 where the answer does not depend on the output."""
    pairs = zip(outputs.items(), found, strict=False)
    return {name: torch.zeros_like(output) if part is None else part for (name, output), part in pairs}


@contextmanager
def _in_place_as_a_sentence() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if "inplace" not in str(error) and "view" not in str(error):
            raise
        raise VitqError(NOT_FOLLOWED) from error


def _check_followed(logits: Tensor, expected: Tensor) -> None:
    """The rules must explain what the model computes: an in-place statement of its forward would be lost."""
    if not torch.allclose(logits, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max())):
        raise VitqError(NOT_FOLLOWED)


def _logit(logits: Tensor, targets: Tensor) -> Tensor:
    return logits.gather(1, targets[:, None])


def checked_logits(logits: object) -> Tensor:
    """Raises VitqError for what is not [B, classes] or not finite."""
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise VitqError(f"relevance explains classifiers, which give [N, classes]; this model gives {got}")
    if not torch.isfinite(logits).all():
        raise VitqError("the model gives outputs that are not finite numbers; there is nothing to explain")
    return logits


def check_targets(targets: Tensor, classes: int) -> Tensor:
    """Raises ValueError for a class the model does not have."""
    lowest, highest = int(targets.min()), int(targets.max())
    if lowest < 0 or highest >= classes:
        wrong = highest if highest >= classes else lowest
        raise ValueError(f"target class {wrong} is out of range: the model has classes 0 to {classes - 1}")
    return targets


@contextmanager
def captured(module: nn.Module, names: list[str]) -> Iterator[dict[str, Tensor]]:
    """Collects the outputs of the named submodules, in forward order."""
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Callable:
        def hook(part: nn.Module, inputs: tuple, output: Tensor) -> None:
            outputs[name] = output

        return hook

    with hooked(*((module.get_submodule(name), keep(name)) for name in names)):
        yield outputs
