"""What is done to a model: a pass each. Importing this package registers them all."""

from . import allocate, reconstruct, reparameterize, rotate  # each registers its passes
from . import calibrate as calibrate

__all__ = ["allocate", "calibrate", "reconstruct", "reparameterize", "rotate"]
