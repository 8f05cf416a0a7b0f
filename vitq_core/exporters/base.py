"""How a quantized model is written: one file per format, each a function (result, folder) → folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..common.registry import Registry
from ..quantized.result import QuantizeResult

EXPORTERS: Registry[Callable[[QuantizeResult, str | Path], Path]] = Registry("export format")
