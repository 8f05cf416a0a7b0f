"""What is done to a model: a pass each. Importing this package registers them all."""

from . import (
    allocate,
    calibrate,
    compensate,
    reconstruct,
    reparameterize,
    rotate,
    stages,
)  # each registers its own

__all__ = ["allocate", "calibrate", "compensate", "reconstruct", "reparameterize", "rotate", "stages"]
