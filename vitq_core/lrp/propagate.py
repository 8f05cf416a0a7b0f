"""One batch: the gradient of what is explained and its relevance, at the output of every layer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..common.batch import Batch
from ..common.errors import VitqError
from ..common.hooks import hooked
from ..tasks import Outputs, Task, task_of
from .mode import Recording, RelevanceMode

NOT_FOLLOWED = "relevance cannot follow this model's forward; does it change tensors in place?"
Objective = Callable[[Outputs, Tensor | None], Tensor]  # (answer of the model, targets) → [B]


@dataclass
class Propagated:
    """Of ``count`` pictures: ``gradients``, ``relevances``: {name: [B, …]}; ``pixels``: relevance of the
    pictures, as a batch holds them.

    ``scored``: {name: [B]}, the scores of those that were not kept. ``targets``: None where there are none.
    """

    targets: Tensor | None
    gradients: dict[str, Tensor]
    relevances: dict[str, Tensor]
    count: int
    pixels: list[Tensor] = field(default_factory=list)
    scored: dict[str, Tensor] = field(default_factory=dict)

    def scores(self) -> dict[str, Tensor]:
        """{name: [B]}: ``mean((G ⊙ R)⁺)``, the importance of a layer for a picture (LRP-QViT)."""
        kept = {
            name: positive_mean(g, self.relevances[name], self.count) for name, g in self.gradients.items()
        }
        return {**self.scored, **kept}


def positive_mean(gradient: Tensor, relevance: Tensor, pictures: int) -> Tensor:
    """[pictures]: mean of ``(gradient ⊙ relevance)⁺`` [B, …], picture by picture: little memory is touched.

    B may be a multiple of the pictures: their windows, or what is asked of them.
    """
    pairs = zip(*(x.reshape(pictures, -1) for x in (gradient, relevance)), strict=True)
    return torch.stack([(g * r).clamp_(min=0).mean() for g, r in pairs])


class Passed(NamedTuple):
    """A forward and backward pass: ``gradients`` of the objective and ``outputs``, {name: [B, …]}.

    ``answer``: what the model as a whole gave.
    """

    targets: Tensor | None
    gradients: dict[str, Tensor]
    outputs: dict[str, Tensor]
    answer: Outputs


def propagate(
    module: nn.Module,
    names: list[str],
    batch: Batch,
    targets: Tensor | None = None,
    to_pixels: bool = False,
    keep: Collection[str] | None = None,
    task: Task | None = None,
    biases: str = "identity",
) -> Propagated:
    """Explain the objective of the module's task for ``batch``: a class's logit, the features.

    ``targets`` [B]: which class; the predictions by default. ``names``: the submodules at whose outputs to
    look; of those not in ``keep`` (all) only the scores stay, which takes far less memory. ``task``: what the
    module's build shows by default. ``biases``: what position biases and masks get that are added to scores,
    ``"identity"``: nothing, or ``"add"``: their share. The module must not require grad anywhere.
    """
    task = task_of(module) if task is None else task
    with Recording() as recording:
        passed = output_gradients(module, names, batch, targets, task.objective, task)
    targets, gradients, expected = passed.targets, passed.gradients, passed.answer
    del passed
    pictures = [pixels.detach().requires_grad_() for pixels in batch.pictures]
    with torch.enable_grad(), _in_place_as_a_sentence():
        with captured(module, names) as outputs, RelevanceMode(recording.results, biases):
            answer = task.run(module, batch.with_pictures(pictures))
        start = task.shares(expected, targets)
        ends = [answer[name] for name in start]
        for name, end in zip(start, ends, strict=True):
            _check_followed(end, expected[name])
        kept = {name: outputs[name] for name in outputs if keep is None or name in keep}
        # 0 until its relevance arrives, and for good where none does.
        scored = dict.fromkeys((n for n in names if n not in kept), ends[0].new_zeros(len(batch)))
        for name in outputs.keys() & scored.keys():
            outputs[name].register_hook(_scoring(name, gradients, scored, len(batch)))
        reached = [output for output in outputs.values() if output.is_leaf]  # without the picture's help
        outputs.clear()
        recording.results.clear()
        inputs = [*kept.values(), *(pictures if to_pixels or not kept else ()), *reached]
        found = torch.autograd.grad(ends, inputs, list(start.values()), allow_unused=True)
    own = {name: gradients[name] for name in kept}
    pixels = [*found[len(kept) :][: len(pictures)]] if to_pixels else []
    return Propagated(targets, own, _filled(kept, found), len(batch), pixels, scored)


def _scoring(name: str, gradients: dict[str, Tensor], scored: dict[str, Tensor], pictures: int) -> Callable:
    """A hook that scores a layer as its relevance passes, and forgets its gradient."""

    def score(relevance: Tensor) -> None:
        scored[name] = positive_mean(gradients.pop(name), relevance, pictures)

    return score


def output_gradients(
    module: nn.Module,
    names: list[str],
    batch: Batch,
    targets: Tensor | None,
    objective: Objective,
    task: Task,
) -> Passed:
    """Of the objective for ``targets`` [B] or the task's own, at the outputs of ``names``."""
    with torch.enable_grad(), captured(module, names) as outputs:
        pictures = [pixels.detach().requires_grad_() for pixels in batch.pictures]
        answer = task.run(module, batch.with_pictures(pictures))
        targets = task.targets(answer, targets)
        found = torch.autograd.grad(
            objective(answer, targets).sum(), list(outputs.values()), allow_unused=True
        )
    plain, answer = ({name: part.detach() for name, part in parts.items()} for parts in (outputs, answer))
    return Passed(targets, _filled(outputs, found), plain, answer)


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


def _check_followed(answer: Tensor, expected: Tensor) -> None:
    """The rules must explain what the model computes: an in-place statement of its forward would be lost."""
    if not torch.allclose(answer, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max())):
        raise VitqError(NOT_FOLLOWED)


@contextmanager
def captured(module: nn.Module, names: list[str]) -> Iterator[dict[str, Tensor]]:
    """Collects the outputs of the named submodules, in forward order. Where gradients are on, those that the
    picture has no part in, such as prompts attending to each other, take them too."""
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Callable:
        def hook(part: nn.Module, inputs: tuple, output: Tensor) -> None:
            if torch.is_grad_enabled() and not output.requires_grad:
                output.requires_grad_()
            outputs[name] = output

        return hook

    with hooked(*((module.get_submodule(name), keep(name)) for name in names)):
        yield outputs
