"""Pictures inside a page, without a file of their own."""

from __future__ import annotations

import base64
import io

import numpy as np

from vitq_core.experiment import overlay


def as_url(pixels: np.ndarray) -> str:
    """[H, W, 3] from 0 to 1 as a data URL."""
    file = io.BytesIO()
    overlay.as_picture(pixels).save(file, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
