"""Results that read both as attributes (`ev.top1`) and as a mapping (`ev["top1"]`, `dict(ev)`)."""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any


class Record(Mapping):
    """Mixin for dataclasses: a read-only mapping from field names to values, in the fields' order.

    Fields must not be called `keys`, `values`, `items` or `get`, which the mapping needs.
    """

    def __getitem__(self, name: str) -> Any:
        if name not in self._names():
            raise KeyError(f"no field {name!r}; available: {', '.join(self._names())}")
        return getattr(self, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())

    def as_dict(self) -> dict[str, Any]:
        """The fields as a plain dict; values are not copied."""
        return dict(self)

    def _names(self) -> tuple[str, ...]:
        return tuple(field.name for field in fields(self))
