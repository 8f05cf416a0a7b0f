"""The arithmetic that explanations need, whatever mode the caller is in."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from typing import TypeVar

import torch

F = TypeVar("F", bound=Callable)


def plain_arithmetic(function: F) -> F:
    """``function`` in single precision and with autograd, also called in inference mode or under autocast."""

    @wraps(function)
    def plainly(*args, **kwargs):
        kinds = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
        with ExitStack() as modes:
            modes.enter_context(torch.inference_mode(False))
            for kind in kinds:
                modes.enter_context(torch.autocast(kind, enabled=False))
            return function(*args, **kwargs)

    return plainly
