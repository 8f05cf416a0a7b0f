"""Quantized models of runs, packed in `VITQ_HOME`: a run can be exported or asked without making it again."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import vitq_core as vq
from vitq_core.experiment import forget_beyond, vitq_home

MOST, MOST_BYTES = 64, 4 * 2**30


def place(key: str) -> Path:
    """Of the run with this key."""
    return vitq_home() / "quantized" / key


def keep(result: vq.QuantizeResult, key: str) -> None:
    """The oldest go. A model that cannot be saved, or a full disk, costs nothing but time later."""
    folder = place(key)
    try:
        folder.parent.mkdir(exist_ok=True)
        vq.save_quantized(result, folder)
        os.utime(folder)
        forget_beyond([each for each in folder.parent.iterdir() if each != folder], MOST - 1, MOST_BYTES)
    except (vq.VitqError, OSError):
        return


def found(key: str) -> vq.QuantizeResult | None:
    """None where there is none that can be loaded."""
    try:
        return vq.load_quantized(place(key)) if place(key).is_dir() else None
    except vq.VitqError:
        return None


def forget(key: str) -> None:
    """The model of a run that is deleted."""
    shutil.rmtree(place(key), ignore_errors=True)
