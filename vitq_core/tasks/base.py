"""What the engine must know of what a model is for. One file a task; ``TASKS`` finds them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..common.batch import Batch, checked, unpacked
from ..common.errors import NotFinite
from ..common.records import Record
from ..common.registry import Registry

Outputs = dict[str, Tensor]  # what a model answers, by name: [B, …] each


@dataclass(frozen=True, eq=False)
class Evaluation(Record):
    """What ``evaluate`` measured; also a mapping. What a task does not measure is None.

    Classification: ``top1``, ``top5``: shares (0..1) of the labelled pictures whose label is the first, or
    among the first five (all, with fewer classes) predictions; None without labels. ``agreement``: share of
    all pictures with the reference's first prediction, ``kl``: mean KL(reference ‖ module) in nats; None
    without a reference.

    Features, all None without a reference: ``cosine`` of the features with the reference's, a mean over the
    pictures; ``token_cosine``: of the patch tokens, a mean over tokens and pictures; ``min_cosine``: the
    least of any patch token of any picture; ``class_token_cosine``. The last three are None for a model that
    does not show such tokens.

    Segmentation, means over the prompts: ``iou`` of the chosen mask with the right one, ``best_iou`` of the
    best candidate (an oracle's choice), ``iou_error``: |predicted − true IoU| of the chosen one; None without
    right masks. ``agreement_iou`` with the mask that the reference chose, ``changed_choices``: share of
    prompts for which another one was; None without a reference.

    ``n``: pictures seen; of segmentation, prompts answered. ``labelled``: of a classification's pictures
    those that ``top1`` and ``top5`` are shares of.
    """

    top1: float | None
    top5: float | None
    n: int
    agreement: float | None = None
    kl: float | None = None
    cosine: float | None = None
    token_cosine: float | None = None
    class_token_cosine: float | None = None
    min_cosine: float | None = None
    iou: float | None = None
    best_iou: float | None = None
    iou_error: float | None = None
    agreement_iou: float | None = None
    changed_choices: float | None = None
    labelled: int | None = None


class Metrics(ABC):
    """Sums over the pictures so far, in constant memory."""

    n = 0  # pictures seen

    @abstractmethod
    def add(self, outputs: Outputs, truth: Any, reference: Outputs | None) -> None:
        """Count a batch; ``truth`` and ``reference`` where there are any. Raises ValueError for a ``truth``
        or a ``reference`` that does not fit ``outputs``."""

    @abstractmethod
    def merge(self, other: Metrics) -> None:
        """Add what ``other``, of the same task, has seen: the same as one that saw both streams."""

    def state(self) -> dict[str, Any]:
        """The sums, JSON-ready; :meth:`restore` takes them."""
        return dict(vars(self))

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from sums of the same task. Raises ValueError for anything else."""
        if state.keys() != vars(self).keys():
            raise ValueError("these are sums of another task or of another version")
        vars(self).update(state)

    @abstractmethod
    def measured(self) -> Evaluation:
        """What was counted of at least one picture."""

    def result(self) -> Evaluation:
        """What was counted; ValueError when there were no pictures."""
        if self.n == 0:
            raise ValueError("there is nothing to evaluate: the loader gave no pictures")
        return self.measured()


class Task(ABC):
    """One for each kind of answer. ``takes_targets``: a caller may choose what is explained (a class).

    ``counts``: what its metrics count. ``chunk``: how many pictures run through a model at a time, at most: 1
    where each brings tensors of its own shape.
    """

    name: str
    takes_targets = False
    counts = "picture"
    chunk = 32

    @abstractmethod
    def matches(self, module: nn.Module) -> bool:
        """Whether ``module`` shows by its build that this is what it is for."""

    def collate(self, item: object, size: tuple[int, int, int] | None = None) -> Batch:
        """What a loader gives as what a model is called with that takes pictures of ``size``, None: of any.
        ValueError for what cannot be meant."""
        pictures, labels = unpacked(item)
        return Batch((checked(pictures, size),), truth=labels)

    def working(self, item: object, size: tuple[int, int, int] | None) -> Batch:
        """As :meth:`collate`, without what an evaluation alone needs and makes answers large."""
        return self.collate(item, size)

    def example(self, size: tuple[int, int, int], count: int = 1) -> Batch:
        """Of random pictures, for a model of which only the ``size`` of its pictures is known."""
        return Batch((torch.randn(count, *size, generator=torch.Generator().manual_seed(0)),))

    def outline(self, size: tuple[int, int, int]) -> Batch:
        """One picture without its numbers, on the meta device, for a module that is there too."""
        return Batch((torch.empty(1, *size, device="meta"),))

    def one(self, batch: Batch) -> Batch:
        """Its first picture, asked the least there is to ask: what a layer costs is counted on it."""
        return batch[:1]

    def run(self, module: nn.Module, batch: Batch, who: str = "the model") -> Outputs:
        """What ``module`` answers, checked by :meth:`outputs`."""
        return self.outputs(batch.through(module), who)

    def measured(self, module: nn.Module, batch: Batch, who: str = "the model") -> Outputs:
        """What :meth:`run` gives, and what beside it metrics look at."""
        return self.run(module, batch, who)

    @abstractmethod
    def outputs(self, answer: object, who: str = "the model") -> Outputs:
        """``answer`` of a model by name. Raises VitqError, calling the model ``who``, for what is no answer
        of this task; NotFinite for one with NaN or infinite values."""

    @abstractmethod
    def metrics(self) -> Metrics:
        """Fresh ones, with no picture seen."""

    @abstractmethod
    def loss(self, outputs: Outputs, expected: Outputs) -> Tensor:
        """How far a batch's answers lie from the ``expected`` ones, a mean over its pictures, to be
        differentiated: what a whole model learns by. 0 for equal ones; that of zeros is what others are
        compared with."""

    @abstractmethod
    def targets(self, outputs: Outputs, given: Tensor | None) -> Tensor | None:
        """What of ``outputs`` is explained: ``given`` [B], checked, or the model's own choice; None where
        there is nothing to choose. Raises ValueError for a target that the model does not have."""

    @abstractmethod
    def objective(self, outputs: Outputs, targets: Tensor | None) -> Tensor:
        """[B]: what is explained, as one number for each picture, to be differentiated."""

    @abstractmethod
    def shares(self, outputs: Outputs, targets: Tensor | None) -> Outputs:
        """Where relevance starts: each number's share in the objective, 1 in all for each picture.

        Names only outputs that have a share.
        """

    @abstractmethod
    def sample(self, outputs: Outputs, generator: torch.Generator) -> Tensor:
        """An answer for each picture, drawn as the model gives it, for the Fisher information."""

    @abstractmethod
    def likelihood(self, outputs: Outputs, answers: Tensor) -> Tensor:
        """[B]: log-likelihood of ``answers``, or what has its gradient, to be differentiated."""

    @abstractmethod
    def present(self, outputs: Outputs, labels: Sequence[str] | None) -> Any:
        """The answer for a single picture as a program wants it; ``labels`` name the classes."""


TASKS: Registry[Task] = Registry("task")
UNKNOWN = "classification"  # what a module is taken for that says nothing of itself


def task_of(module: nn.Module, *given: object) -> Task:
    """The task of ``module``: what ``given`` say (Models, results of ``quantize``), else by its build.

    Of several that say something the first counts; None and plain modules are passed over.
    """
    stated = next((task for task in map(_stated, given) if task is not None), None)
    if stated is not None:
        return TASKS[stated]
    return next((task for task in TASKS.values() if task.matches(module)), TASKS[UNKNOWN])


def _stated(model: object) -> str | None:
    """By the description of a Model, or of the one that was quantized."""
    if isinstance(model, nn.Module):
        return None
    return getattr(getattr(getattr(model, "source", None) or model, "info", None), "task", None)


def check_finite(answer: Tensor, who: str) -> None:
    """Raises NotFinite, calling the model ``who``, for values that are not finite."""
    if not torch.isfinite(answer.detach()).all():
        raise NotFinite(
            f"{who} gives outputs that are not finite numbers; there is nothing to measure or explain"
        )


def shape_of(answer: object) -> str:
    """For a sentence: the shape of a tensor, the type of anything else."""
    return str(list(answer.shape)) if isinstance(answer, Tensor) else type(answer).__name__
