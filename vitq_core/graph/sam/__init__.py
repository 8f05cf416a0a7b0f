"""Segment Anything: the ``segment-anything`` package's ``Sam``."""

from . import family

__all__ = ["family"]
