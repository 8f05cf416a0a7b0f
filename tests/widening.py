"""Parameters of a test of which `make test` takes a few and `make test-all` all."""

from collections.abc import Iterable
from typing import Any

import pytest


def mostly_wide(values: Iterable[Any], *kept: Any) -> list[Any]:
    """All values, or rows of them as tuples, marked `wide` but for those kept.

    ValueError where a kept one is not among them.
    """
    values = list(values)
    if missing := [each for each in kept if each not in values]:
        raise ValueError(f"not among the values: {missing}")
    rows = [value if isinstance(value, tuple) else (value,) for value in values]
    return [
        value if value in kept else pytest.param(*row, marks=pytest.mark.wide)
        for value, row in zip(values, rows, strict=True)
    ]
