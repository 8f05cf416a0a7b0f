"""Which class of each picture is explained, where a model has classes."""

from __future__ import annotations

import torch
from torch import Tensor

from ..tasks import Task


def check_batch_size(batch_size: object) -> None:
    """Raises ValueError for what is no whole number above 0."""
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size must be a whole number above 0, got {batch_size!r}")


def check_takes(task: Task, targets: object) -> None:
    """Raises ValueError for ``targets`` of a model that has nothing to choose from."""
    if targets is not None and not task.takes_targets:
        raise ValueError(
            f"targets name classes, and this model has none (its task is {task.name}); leave targets out"
        )


INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


class Targets:
    """The classes to explain, handed out batch by batch. ValueError for what cannot be classes."""

    def __init__(self, targets: object, pictures: int | None) -> None:
        self.classes = None if targets is None else _classes(targets)
        self._same = self.classes is not None and self.classes.ndim == 0
        self._taken = 0
        if self.classes is not None and not self._same and pictures not in (None, len(self.classes)):
            raise ValueError(
                f"targets must be one class for each of {pictures} pictures, got {len(self.classes)}"
            )

    def take(self, count: int, device: torch.device) -> Tensor | None:
        """For the next ``count`` pictures; None stands for the predictions."""
        start, self._taken = self._taken, self._taken + count
        if self.classes is None:
            return None
        if self._same:
            return self.classes.expand(count).to(device)
        if self._taken > len(self.classes):
            raise ValueError(f"there are more pictures than the {len(self.classes)} targets")
        return self.classes[start : self._taken].to(device)

    def at(self, start: int, count: int, device: torch.device) -> Tensor | None:
        """For pictures from number ``start`` on, whichever were taken before."""
        before, self._taken = self._taken, start
        found = self.take(count, device)
        self._taken = max(before, self._taken)
        return found

    @property
    def one_each(self) -> bool:
        """Whether every picture has its own."""
        return self.classes is not None and not self._same

    def passed(self, count: int) -> None:
        """So many pictures there are, whoever took their classes."""
        self._taken = max(self._taken, count)

    def check_used(self) -> None:
        if self.classes is not None and not self._same and self._taken < len(self.classes):
            raise ValueError(f"there are {len(self.classes)} targets but only {self._taken} pictures")


def _classes(targets: object) -> Tensor:
    try:
        classes = torch.as_tensor(targets)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f"targets must be class numbers, got {targets!r:.80}") from error
    if classes.dtype not in INTEGERS or classes.ndim > 1:
        raise ValueError(f"targets must be one class number for each picture, got {targets!r:.80}")
    return classes.long()
