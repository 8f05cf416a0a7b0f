"""What this process takes: now, at its peak during a piece of work, and pages that nobody uses given back."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")  # of Linux


@dataclass
class PeakMemory:
    """Bytes above those held at the start; None where nobody says, and until the work is done.

    ``device``: of a GPU.
    """

    host: int | None = None
    device: int | None = None


@contextmanager
def peak_memory(device: torch.device | str = "cpu") -> Iterator[PeakMemory]:
    """Watches this process, and ``device`` where that is a GPU of NVIDIA's.

    What was freed before is given back first, or the work could hide in it; an allocator that keeps it all
    the same makes the peak too low.
    """
    found, gpu = PeakMemory(), torch.device(device)
    watched = gpu.type == "cuda"
    if watched:
        torch.cuda.reset_peak_memory_stats(gpu)
        held = torch.cuda.memory_allocated(gpu)
    before = _fresh_peak()
    yield found
    if before is not None:
        found.host = max(_bytes_of("VmHWM") - before, 0)
    if watched:
        found.device = torch.cuda.max_memory_allocated(gpu) - held


def _fresh_peak() -> int | None:
    """Bytes held now, from which on the peak is taken."""
    give_back()
    try:
        RESET.write_text("5")  # the peak begins anew
    except OSError:
        return None
    return resident_bytes()


def resident_bytes() -> int | None:
    """Held now; None where the system does not say."""
    return _bytes_of("VmRSS")


def _bytes_of(name: str) -> int | None:
    try:
        lines = STATUS.read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name))
    except (OSError, StopIteration, ValueError):
        return None


def give_back() -> None:
    """Frees reference cycles, then free pages."""
    gc.collect()
    trim()


def trim() -> None:
    """Free pages back to the system. glibc alone keeps some, and can be asked for them."""
    malloc_trim = getattr(libc(), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)


@cache
def libc() -> ctypes.CDLL | None:
    """The C library's functions; None where there is no such file."""
    try:
        return ctypes.CDLL("libc.so.6")
    except OSError:
        return None
