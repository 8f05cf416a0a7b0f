"""The named recipes: one file per set; importing this package registers them all."""

from . import adfq, baselines, repq  # each registers its recipes

__all__ = ["adfq", "baselines", "repq"]
