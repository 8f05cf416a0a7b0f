"""The named recipes: one file per set; importing this package registers them all."""

from . import (  # each registers its recipes
    adfq,
    baselines,
    lrp,  # builds on crl
    repq,
    vitq,
)

__all__ = ["adfq", "baselines", "lrp", "repq", "vitq"]
