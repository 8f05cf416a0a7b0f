"""Options that take several values behind one name: `--bits 8 6 4`, or `--bits 8,6,4`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from typer.core import TyperCommand

SEPARATOR = ","


class ManyValues(TyperCommand):
    """What follows an option that may be repeated is its own, up to the next option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        several = {name for each in self.params if getattr(each, "multiple", False) for name in each.opts}
        return super().parse_args(ctx, [*_joined(args, several)])


def _joined(arguments: Iterable[str], several: set[str]) -> Iterator[str]:
    """`--bits 8 6` as `--bits 8 --bits 6`."""
    current, fresh = None, False
    for each in arguments:
        if each.startswith("-") and not each.lstrip("-").replace(".", "").isdigit():
            current, fresh = (each if each in several else None), True
        elif current is not None and not fresh:
            yield current
        else:
            fresh = False
        yield each


def split(values: Iterable[str] | None) -> list[str]:
    """Each once, in their order. ValueError for a value that is nothing."""
    found = [part.strip() for value in values or () for part in value.split(SEPARATOR)]
    if not all(found):
        raise ValueError(f"a list such as 8,6,4 has something between its commas, got {[*values]!r:.80}")
    return list(dict.fromkeys(found))
