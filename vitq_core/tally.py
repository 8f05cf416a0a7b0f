"""Counting hits, agreement and divergence batch by batch."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .record import Record


@dataclass(frozen=True, eq=False)
class Evaluation(Record):
    """What `evaluate` measured; also a mapping.

    `top1`, `top5`: shares (0..1) of the labelled pictures whose label is the first, or among the first five
    (all, with fewer classes) predictions; None without labels. `n`: pictures seen. `agreement`: share of all
    pictures with the reference's first prediction, `kl`: mean KL(reference ‖ module) in nats; None without a
    reference.
    """

    top1: float | None
    top5: float | None
    n: int
    agreement: float | None = None
    kl: float | None = None


class Tally:
    """Sums over the pictures so far; `result()` divides them."""

    def __init__(self) -> None:
        self.n = self.labelled = self.first = self.in_five = self.same = 0
        self.divergence: float | None = None

    def add(self, logits: Tensor, labels: Tensor | None, theirs: Tensor | None) -> None:
        """Count a batch: logits [B, classes], labels [B] (-1 for none), the reference's logits."""
        self.n += len(logits)
        if labels is not None:
            self._add_labels(logits, labels)
        if theirs is not None:
            self._add_reference(logits, theirs)

    def _add_labels(self, logits: Tensor, labels: Tensor) -> None:
        labels = _checked_labels(labels, logits).to(logits.device)
        known = labels >= 0
        best = logits[known].topk(min(5, logits.shape[1]), dim=1).indices
        hits = best == labels[known, None]
        self.labelled += len(hits)
        self.first += int(hits[:, 0].sum())
        self.in_five += int(hits.any(1).sum())

    def _add_reference(self, logits: Tensor, theirs: Tensor) -> None:
        if logits.shape != theirs.shape:
            raise ValueError(
                f"the model has {logits.shape[1]} classes but the reference has {theirs.shape[1]}"
            )
        theirs = theirs.to(logits.device)
        self.same += int((logits.argmax(1) == theirs.argmax(1)).sum())
        # In double precision: a good quantization's divergence drowns in single precision's rounding.
        log_q, log_p = (x.double().log_softmax(1) for x in (logits, theirs))
        self.divergence = (self.divergence or 0.0) + float((log_p.exp() * (log_p - log_q)).sum())

    def result(self) -> Evaluation:
        """What was counted; ValueError when there were no pictures."""
        if self.n == 0:
            raise ValueError("there is nothing to evaluate: the loader gave no pictures")
        share = (lambda count: count / self.labelled) if self.labelled else (lambda count: None)
        if self.divergence is None:
            return Evaluation(share(self.first), share(self.in_five), self.n)
        kl = max(self.divergence / self.n, 0.0)
        return Evaluation(share(self.first), share(self.in_five), self.n, self.same / self.n, kl)


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
