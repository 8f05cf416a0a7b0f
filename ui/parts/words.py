"""Lists as people say them."""

from collections.abc import Iterable, Sequence
from typing import Any

NAMED = 5  # of many names


def listed(items: Iterable[Any]) -> str:
    return ", ".join(map(str, items)) or "nothing"


def some(names: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    more = len(names) - NAMED
    return listed(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
