"""The arithmetic that explanations need, whatever mode the caller is in."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

import torch

F = TypeVar("F", bound=Callable)


def plain_arithmetic(function: F) -> F:
    """``function`` in single precision and with autograd: inference mode and autocast end at its door."""

    @wraps(function)
    def plainly(*args, **kwargs):
        kinds = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
        with torch.inference_mode(False):
            return _without_autocast(kinds, lambda: function(*args, **kwargs))

    return plainly


def _without_autocast(kinds: tuple[str, ...], run: Callable):
    if not kinds:
        return run()
    with torch.autocast(kinds[0], enabled=False):
        return _without_autocast(kinds[1:], run)
