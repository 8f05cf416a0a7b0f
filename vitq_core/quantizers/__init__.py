"""The quantizers: one file each; importing this package registers them all."""

from .adaptive_granularity import AdaptiveGranularity
from .base import QUANTIZERS, Quantizer
from .hybrid_log import HybridLog
from .log_sqrt2 import LogSqrt2
from .per_patch_outlier import PerPatchOutlier
from .shift_log2 import ShiftLog2
from .uniform import Uniform

__all__ = [
    "QUANTIZERS",
    "AdaptiveGranularity",
    "HybridLog",
    "LogSqrt2",
    "PerPatchOutlier",
    "Quantizer",
    "ShiftLog2",
    "Uniform",
]
