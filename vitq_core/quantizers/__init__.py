"""The quantizers: one file each; importing this package registers them all."""

from .adaptive_granularity import AdaptiveGranularity
from .base import QUANTIZERS, Quantizer
from .log_sqrt2 import LogSqrt2
from .per_patch_outlier import PerPatchOutlier
from .shift_log2 import ShiftLog2
from .uniform import Uniform

__all__ = [
    "QUANTIZERS",
    "AdaptiveGranularity",
    "LogSqrt2",
    "PerPatchOutlier",
    "Quantizer",
    "ShiftLog2",
    "Uniform",
]
