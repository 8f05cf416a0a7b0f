"""A quantized model refuses to be recorded."""

from __future__ import annotations

import torch

from ..common.errors import VitqError


def recording() -> bool:
    """Whether torch records what is computed."""
    exporting = getattr(torch.compiler, "is_exporting", lambda: False)  # not in the oldest torch
    return torch.jit.is_tracing() or exporting()


def refuse_recording() -> None:
    """Rounding that is recorded as float arithmetic would pass for an integer model, and be none."""
    if recording():
        raise VitqError(
            "a quantized model cannot be exported yet, by torch.export, torch.jit or torch.onnx; "
            "save_quantized writes it to a folder that load_quantized reads"
        )
