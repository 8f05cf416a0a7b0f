"""One answer of many: logits, measured by hits, agreement and divergence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..common.errors import VitqError
from .base import TASKS, Evaluation, Metrics, Outputs, Task, check_finite, shape_of
from .heads import classes_of

LOGITS = "logits"
SHOWN = 5  # answers that a single picture is given


class Classification(Task):
    """``logits`` [B, classes]. What is explained is the target's logit; the prediction is the default."""

    name = "classification"
    takes_targets = True

    def matches(self, module: nn.Module) -> bool:
        return bool(classes_of(module))

    def outputs(self, answer: object, who: str = "the model") -> Outputs:
        if not isinstance(answer, Tensor) or answer.ndim != 2:
            raise VitqError(
                f"{who} is taken for a classifier and must give logits [N, classes], got {shape_of(answer)}"
            )
        check_finite(answer, who)
        return {LOGITS: answer}

    def metrics(self) -> ClassificationMetrics:
        return ClassificationMetrics()

    def loss(self, outputs: Outputs, expected: Outputs) -> Tensor:
        """‖z − ẑ‖² of the logits, as units learn too."""
        error = functional.mse_loss(outputs[LOGITS], expected[LOGITS], reduction="sum")
        return error / len(expected[LOGITS])

    def targets(self, outputs: Outputs, given: Tensor | None) -> Tensor:
        logits = outputs[LOGITS]
        return logits.argmax(1) if given is None else check_targets(given, logits.shape[1])

    def objective(self, outputs: Outputs, targets: Tensor) -> Tensor:
        return outputs[LOGITS].gather(1, targets[:, None])[:, 0]

    def shares(self, outputs: Outputs, targets: Tensor) -> Outputs:
        return {LOGITS: torch.zeros_like(outputs[LOGITS]).scatter_(1, targets[:, None], 1.0)}

    def sample(self, outputs: Outputs, generator: torch.Generator) -> Tensor:
        chances = outputs[LOGITS].detach().log_softmax(-1).exp()
        answers = torch.multinomial(chances.cpu(), 1, generator=generator)
        return answers[:, 0].to(chances.device)

    def likelihood(self, outputs: Outputs, answers: Tensor) -> Tensor:
        return outputs[LOGITS].log_softmax(-1).gather(1, answers[:, None])[:, 0]

    def present(self, outputs: Outputs, labels: Sequence[str] | None) -> list[tuple[str, float]]:
        """The five most probable (name, probability), best first."""
        chances = outputs[LOGITS][0].float().softmax(-1)
        values, indices = chances.topk(min(SHOWN, len(chances)))
        names = [labels[i] if labels else f"class {i}" for i in indices.tolist()]
        return list(zip(names, values.tolist(), strict=True))


TASKS.register(Classification.name)(Classification())


class ClassificationMetrics(Metrics):
    """Counts of hits and of agreement, and the sum of divergences."""

    def __init__(self) -> None:
        self.n = self.labelled = self.first = self.in_five = self.compared = self.same = 0
        self.divergence = 0.0

    def add(self, outputs: Outputs, truth: Any, reference: Outputs | None) -> None:
        """``truth``: labels [B], -1 for none."""
        logits = outputs[LOGITS].float()
        self.n += len(logits)
        if truth is not None:
            self._add_labels(logits, truth)
        if reference is not None:
            self._add_reference(logits, reference[LOGITS].float())

    def _add_labels(self, logits: Tensor, labels: Any) -> None:
        labels = _checked_labels(labels, logits).to(logits.device)
        known = labels >= 0
        best = logits[known].topk(min(5, logits.shape[1]), dim=1).indices
        hits = best == labels[known, None]
        self.labelled += len(hits)
        self.first += int(hits[:, 0].sum())
        self.in_five += int(hits.any(1).sum())

    def _add_reference(self, logits: Tensor, reference: Tensor) -> None:
        if logits.shape != reference.shape:
            raise ValueError(
                f"the model has {logits.shape[1]} classes but the reference has {reference.shape[1]}"
            )
        reference = reference.to(logits.device)
        self.compared += len(logits)
        self.same += int((logits.argmax(1) == reference.argmax(1)).sum())
        # In double precision: a good quantization's divergence drowns in single precision's rounding.
        log_q, log_p = (x.double().log_softmax(1) for x in (logits, reference))
        self.divergence += float((log_p.exp() * (log_p - log_q)).sum())

    def merge(self, other: ClassificationMetrics) -> None:
        for name, count in vars(other).items():
            setattr(self, name, getattr(self, name) + count)

    def measured(self) -> Evaluation:
        top1, top5 = (_share(hits, self.labelled) for hits in (self.first, self.in_five))
        agreement, kl = (_share(total, self.compared) for total in (self.same, self.divergence))
        kl = None if kl is None else max(kl, 0.0)
        return Evaluation(top1, top5, self.n, agreement, kl, labelled=self.labelled or None)


def _share(total: float, count: int) -> float | None:
    return total / count if count else None


def check_targets(targets: Tensor, classes: int) -> Tensor:
    """``targets`` [B]. Raises ValueError for a class the model does not have."""
    lowest, highest = int(targets.min()), int(targets.max())
    if lowest < 0 or highest >= classes:
        wrong = highest if highest >= classes else lowest
        raise ValueError(f"target class {wrong} is out of range: the model has classes 0 to {classes - 1}")
    return targets


def _checked_labels(labels: Any, logits: Tensor) -> Tensor:
    try:
        labels = torch.as_tensor(labels)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f"labels must be class numbers, got {labels!r:.80}") from error
    if labels.shape != logits.shape[:1] or labels.is_floating_point() or labels.is_complex():
        raise ValueError(
            f"labels must be {len(logits)} class numbers, one for each image, "
            f"got {labels.dtype} of shape {list(labels.shape)}"
        )
    classes, lowest, highest = logits.shape[1], int(labels.min()), int(labels.max())
    if lowest < -1 or highest >= classes:
        wrong = highest if highest >= classes else lowest
        raise ValueError(
            f"label {wrong} is outside the model's {classes} classes (0 to {classes - 1}, or -1 for none)"
        )
    return labels
