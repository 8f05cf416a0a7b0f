"""Reconstruction: rounding and scales learned unit by unit, so that each gives what it gave before."""

from .progress import UnitProgress, Watch
from .reconstruct import check_enough, reconstruct
from .state import RunState, fingerprint, ready_folder

__all__ = ["RunState", "UnitProgress", "Watch", "check_enough", "fingerprint", "ready_folder", "reconstruct"]
