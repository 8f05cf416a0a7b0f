"""The named recipes: one file per set; importing this package registers them all."""

from . import (  # each registers its recipes
    adfq,
    baselines,
    lrp,  # builds on crl
    ptq4sam,
    repq,
    vitq,
)

__all__ = ["adfq", "baselines", "lrp", "ptq4sam", "repq", "vitq"]
