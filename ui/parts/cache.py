"""A bounded least-recently-used cache; a missing value is computed once, whoever else asks for it."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

V = TypeVar("V")


class Cache(Generic[V]):
    """Keeps what was used last while `weigh(value)` sums to at most `budget`; the newest always stays."""

    def __init__(self, budget: float, weigh: Callable[[V], float] = lambda value: 1):
        self.budget, self.weigh = budget, weigh
        self._values: OrderedDict[Hashable, V] = OrderedDict()
        self._making: dict[Hashable, Lock] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Hashable) -> V | None:
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def put(self, key: Hashable, value: V) -> None:
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            while len(self._values) > 1 and self._weight() > self.budget:
                self._values.popitem(last=False)

    def get_or_make(self, key: Hashable, make: Callable[[], V]) -> V:
        """The kept value, or `make()`'s, which is then kept; where `make` raises, nothing is kept."""
        with self._lock:
            making = self._making.setdefault(key, Lock())
        with making:
            value = self.get(key)
            if value is None:
                value = make()
                self.put(key, value)
        with self._lock:
            self._making.pop(key, None)
        return value

    def _weight(self) -> float:
        return sum(self.weigh(value) for value in self._values.values())
