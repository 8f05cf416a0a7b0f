"""Which class of each picture is explained."""

from __future__ import annotations

import torch
from torch import Tensor


def check_batch_size(batch_size: object) -> None:
    """Raises ValueError for what is no whole number above 0."""
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size must be a whole number above 0, got {batch_size!r}")


INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


class Targets:
    """The classes to explain, handed out batch by batch. ValueError for what cannot be classes."""

    def __init__(self, targets: object, pictures: int | None) -> None:
        self._all = None if targets is None else _classes(targets)
        self._same = self._all is not None and self._all.ndim == 0
        self._taken = 0
        if self._all is not None and not self._same and pictures not in (None, len(self._all)):
            raise ValueError(
                f"targets must be one class for each of {pictures} pictures, got {len(self._all)}"
            )

    def take(self, count: int, device: torch.device) -> Tensor | None:
        """For the next ``count`` pictures; None stands for the predictions."""
        start, self._taken = self._taken, self._taken + count
        if self._all is None:
            return None
        if self._same:
            return self._all.expand(count).to(device)
        if self._taken > len(self._all):
            raise ValueError(f"there are more pictures than the {len(self._all)} targets")
        return self._all[start : self._taken].to(device)

    def check_used(self) -> None:
        if self._all is not None and not self._same and self._taken < len(self._all):
            raise ValueError(f"there are {len(self._all)} targets but only {self._taken} pictures")


def _classes(targets: object) -> Tensor:
    try:
        classes = torch.as_tensor(targets)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"targets must be class numbers, got {targets!r:.80}") from error
    if classes.dtype not in INTEGERS or classes.ndim > 1:
        raise ValueError(f"targets must be one class number for each picture, got {targets!r:.80}")
    return classes.long()
