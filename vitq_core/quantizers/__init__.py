"""The quantizers: one file each; importing this package registers them all."""

from .adaptive_granularity import AdaptiveGranularity
from .affine import Affine
from .base import QUANTIZERS, Quantizer
from .hybrid_log import HybridLog
from .kept import KEPT, Kept
from .log_sqrt2 import LogSqrt2
from .per_patch_outlier import PerPatchOutlier
from .power_of_two import PowerOfTwo
from .row_groups import RowGroups
from .shift_log2 import ShiftLog2
from .symmetric import Symmetric
from .twin_gelu import TwinGelu
from .twin_softmax import TwinSoftmax
from .uniform import Uniform

__all__ = [
    "KEPT",
    "QUANTIZERS",
    "AdaptiveGranularity",
    "Affine",
    "HybridLog",
    "Kept",
    "LogSqrt2",
    "PerPatchOutlier",
    "PowerOfTwo",
    "Quantizer",
    "RowGroups",
    "ShiftLog2",
    "Symmetric",
    "TwinGelu",
    "TwinSoftmax",
    "Uniform",
    "kind_of",
]


def kind_of(name: str) -> type[Quantizer]:
    """The class that a rule names; :data:`KEPT` names none of the registry's."""
    return Kept if name == KEPT else QUANTIZERS[name]
