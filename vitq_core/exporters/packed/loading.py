"""Reading the folder of a quantized model."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError

from ...common.errors import VitqError
from ...common.files import given_path
from ...common.words import brief
from ...quantized.result import QuantizeResult
from .container import opened
from .rebuilding import DAMAGE, rebuild

LONGEST = 300  # characters of a reason


def load_quantized(folder: str | Path) -> QuantizeResult:
    """The result that :func:`save_quantized` wrote, its model ready to call.

    The file is mapped and read tensor by tensor. Raises VitqError for a folder without a quantized model, a
    damaged one, or one of a newer format, ValueError for what names no folder.
    """
    folder = given_path(folder, "folder", "folder")
    try:
        with opened(folder) as (description, stored):
            return rebuild(description, stored)
    except (*DAMAGE, OSError, SafetensorError) as error:
        raise VitqError(f"the quantized model in {folder} is damaged: {_said(error)}") from error


def _said(error: Exception) -> str:
    """A KeyError says only which name was looked for."""
    return f"{error} is missing" if isinstance(error, KeyError) else brief(error, LONGEST)
