"""The named recipes: one file per set; importing this package registers them all."""

# Each registers its recipes, in the order in which people see them: as they were published, ours last.
from . import baselines, fq, psaq, ranking, ptq4vit, apq, repq, lrp, ptq4sam, adfq, vitq  # noqa: I001

__all__ = [
    "adfq",
    "apq",
    "baselines",
    "fq",
    "lrp",
    "psaq",
    "ptq4sam",
    "ptq4vit",
    "ranking",
    "repq",
    "vitq",
]
