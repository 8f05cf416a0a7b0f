"""A least-recently-used cache; a missing value is computed once, whoever else asks for it."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from itertools import count
from threading import Lock
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

V = TypeVar("V")

_uses = count()  # one clock for all caches, so that their oldest entries can be compared


class Cache(Generic[V]):
    """Keeps at most the `most` values that were used last.

    `weigh(value)`: about how many megabytes it takes. A value that was let go and that somebody still holds
    is found again instead of being made a second time, so letting go of it never costs memory.
    """

    def __init__(self, most: float = float("inf"), weigh: Callable[[V], float] = lambda value: 0.0):
        self.most, self.weigh = most, weigh
        self._values: OrderedDict[Hashable, tuple[int, V]] = OrderedDict()
        self._held: WeakValueDictionary[Hashable, V] = WeakValueDictionary()
        self._making: dict[Hashable, Lock] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Hashable) -> V | None:
        with self._lock:
            _, value = self._values.get(key) or (0, self._held.get(key))
            if value is not None:
                self._put(key, value)
            return value

    def put(self, key: Hashable, value: V) -> None:
        with self._lock:
            self._put(key, value)

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

    def oldest(self) -> int | None:
        """When the value that was used longest ago was used; None where there is none. Later is larger."""
        with self._lock:
            return next((used for used, _ in self._values.values()), None)

    def let_oldest_go(self) -> None:
        with self._lock:
            if self._values:
                self._let_oldest_go()

    def megabytes(self) -> float:
        """What all values take, about."""
        with self._lock:
            return sum(self.weigh(value) for _, value in self._values.values())

    def _put(self, key: Hashable, value: V) -> None:
        self._held.pop(key, None)
        self._values[key] = (next(_uses), value)
        self._values.move_to_end(key)
        while len(self._values) > self.most:
            self._let_oldest_go()

    def _let_oldest_go(self) -> None:
        key, (_, value) = self._values.popitem(last=False)
        try:
            self._held[key] = value
        except TypeError:  # a number or a tuple cannot be referred to weakly
            return
