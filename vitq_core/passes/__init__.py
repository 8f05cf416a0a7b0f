"""What is done to a model: a pass each. Importing this package registers them all."""

# Each registers its own.
from . import (
    allocate,
    block_search,
    calibrate,
    clip_scores,
    compensate,
    fold_keys,
    heads,
    hessian_search,
    nuclear_bits,
    observe,
    ranking_search,
    reconstruct,
    reparameterize,
    stages,
)

__all__ = [
    "allocate",
    "block_search",
    "calibrate",
    "clip_scores",
    "compensate",
    "fold_keys",
    "heads",
    "hessian_search",
    "nuclear_bits",
    "observe",
    "ranking_search",
    "reconstruct",
    "reparameterize",
    "stages",
]
