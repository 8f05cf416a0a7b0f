"""What is done to a model: a pass each. Importing this package registers them all."""

# Each registers its own.
from . import allocate, calibrate, compensate, fold_keys, heads, reconstruct, reparameterize, stages

__all__ = [
    "allocate",
    "calibrate",
    "compensate",
    "fold_keys",
    "heads",
    "reconstruct",
    "reparameterize",
    "stages",
]
