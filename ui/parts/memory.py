"""One limit for what the whole process takes, and memory that nobody uses given back after a run."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from torch import Tensor

from vitq_core.experiment import give_back, libc, resident_bytes, trim

from .cache import Cache

V = TypeVar("V")

M_ARENA_MAX = -8  # of glibc's malloc.h
ARENAS = 2  # each of the server's threads would have one of its own, full of what its last run left
LIMIT = "VITQ_MEMORY_MB"
LARGEST_DEFAULT_MB = 4096
MB = 2**20


class Memory:
    """The caches of a process, and how many megabytes it may take, everything in it counted.

    Once it takes more, the values that were used longest ago go, whichever cache they are in: results,
    references, models, explanations. What was used last always stays.
    """

    def __init__(self, limit_mb: float | None = None):
        """`limit_mb` None: VITQ_MEMORY_MB, or the default; ValueError where that is no number above 0."""
        self.limit_mb = megabytes_named(LIMIT, default_limit_mb()) if limit_mb is None else limit_mb
        self._caches: list[Cache] = []
        self._extras: list[Callable[[], None]] = []

    def cache(self, most: float = float("inf"), weigh: Callable[[V], float] = lambda value: 0.0) -> Cache[V]:
        """A new cache that lets go of its values when the process takes too much."""
        made: Cache[V] = Cache(most, weigh)
        self._caches.append(made)
        return made

    def forget_first(self, forget: Callable[[], None]) -> None:
        """`forget()` frees what is quickly made again; it is called before any cache lets go of a value."""
        self._extras.append(forget)

    def taken_mb(self) -> float:
        """Resident memory; where the system does not say it, the sum of what the caches hold."""
        resident = resident_mb()
        return sum(cache.megabytes() for cache in self._caches) if resident is None else resident

    def keep_within(self) -> None:
        """Let go of values until the process takes no more than its limit, or one value alone is left."""
        if self.taken_mb() <= self.limit_mb:
            return
        for forget in self._extras:
            forget()
        give_back()
        while self.taken_mb() > self.limit_mb and self._let_oldest_go():
            trim()
        give_back()

    def _let_oldest_go(self) -> bool:
        """False where no value but the one used last is left."""
        if sum(len(cache) for cache in self._caches) <= 1:
            return False
        used = {cache: oldest for cache in self._caches if (oldest := cache.oldest()) is not None}
        min(used, key=used.__getitem__).let_oldest_go()
        return True


def megabytes_named(variable: str, default: float) -> float:
    """The number of megabytes in an environment variable; ValueError where it is no number above 0."""
    text = os.environ.get(variable, "").strip()
    try:
        number = float(text) if text else default
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise ValueError(
            f"{variable} is {text!r:.40}; it must be a number of megabytes above 0, such as 2048."
        )
    return number


def default_limit_mb() -> float:
    """Half of this machine's memory, or of the container's, and at most LARGEST_DEFAULT_MB."""
    return min(LARGEST_DEFAULT_MB, *(total / 2 for total in _totals()))


def _totals() -> list[float]:
    found = [float(LARGEST_DEFAULT_MB * 2)]
    try:
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / MB)
        found.append(int(Path("/sys/fs/cgroup/memory.max").read_text()) / MB)
    except (AttributeError, ValueError, OSError):  # Windows; a container without a limit says "max"
        pass
    return found


def resident_mb() -> float | None:
    """What the process takes now; None where the system does not say."""
    taken = resident_bytes()
    return None if taken is None else taken / MB


def tensors_mb(*tensors: Tensor) -> float:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors) / MB


def bound_arenas() -> None:
    """Before threads start: few arenas, so that what one thread frees another can use."""
    mallopt = getattr(libc(), "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, ARENAS)
