"""Memory that nobody uses any more, given back to the system after a run."""

import ctypes
import gc
from functools import cache

M_ARENA_MAX = -8  # of glibc's malloc.h
ARENAS = 2  # each of the server's threads would have one of its own, full of what its last run left


def give_back() -> None:
    """Frees reference cycles (a quantized model and its simulation know each other), then free pages."""
    gc.collect()
    trim = getattr(_libc(), "malloc_trim", None)
    if trim is not None:  # glibc alone keeps pages back, and can be asked for them
        trim(0)


def bound_arenas() -> None:
    """Before threads start: few arenas, so that what one thread frees another can use."""
    mallopt = getattr(_libc(), "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, ARENAS)


@cache
def _libc() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL("libc.so.6")
    except OSError:
        return None
