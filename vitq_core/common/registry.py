"""Named entries (quantizers, families, recipes) and the one error message for an unknown name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Generic, TypeVar

from .checks import check_name, is_name

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """A read-only mapping filled by ``@registry.register(name)`` where each entry is defined.

    ``filled_by``: a package above the registry's own in which entries are defined; it is imported where one
    of them is asked for.
    """

    def __init__(self, noun: str, filled_by: str | None = None) -> None:
        self.noun, self._filled_by = noun, filled_by
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        def add(entry: T) -> T:
            if name in self._entries:
                raise ValueError(f"{self.noun} {name!r} is registered twice")
            self._entries[name] = entry
            return entry

        return add

    def __getitem__(self, name: str) -> T:
        if self._filled_by is not None:
            import_module(self._filled_by)
        return self._entries[check_name(self.noun, name, sorted(self._entries))]

    # Mapping.__contains__ and .get expect KeyError from __getitem__; ours speaks ValueError.
    def __contains__(self, name: object) -> bool:
        return is_name(name, self._entries)

    def get(self, name: str, default=None):
        return self._entries[name] if name in self else default

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
