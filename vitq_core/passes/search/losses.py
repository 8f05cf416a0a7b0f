"""Whose gradients errors are weighed with."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from ...common.batch import Batch
from ...scoring.fisher import drawn_answers
from ...tasks import Outputs, Task
from ...tasks.classification import LOGITS


def of_label(task: Task, batch: Batch, answer: Outputs) -> Tensor:
    """Minus the log-likelihood of the model's own answer: the class that it predicts, or one that is drawn
    where there are no classes (``scoring.fisher``)."""
    targets = task.targets(answer, None) if task.takes_targets else drawn_answers(task, batch, answer)
    return -task.likelihood(answer, targets).sum()


def of_itself(task: Task, batch: Batch, answer: Outputs) -> Tensor:
    """KL(prediction ‖ the same prediction), as PTQ4ViT's published code: it is 0, and its gradient nothing
    but the rounding noise of this processor."""
    wanted = answer[LOGITS].detach().softmax(-1)
    return functional.kl_div(answer[LOGITS].log_softmax(-1), wanted, reduction="batchmean")


LOSSES = {"label": of_label, "published": of_itself}
