"""Full precision and quantized over each other, under a divider that can be dragged."""

from __future__ import annotations

from typing import Any

import gradio as gr
import numpy as np
from numpy import ndarray
from PIL import Image

HEIGHT = 420  # pixels, at most


def divider(what: str, elem_id: str) -> gr.ImageSlider:
    """`what` both pictures show; hidden until there are two."""
    return gr.ImageSlider(
        label=f"{what}: full precision left of the divider, quantized right of it", type="pil",
        interactive=False, visible=False, max_height=HEIGHT, buttons=[], elem_id=elem_id,
        elem_classes="vq-divider",
    )  # fmt: skip


def pair(full: Any, quantized: Any) -> Any:
    """Two pictures, PIL's or [H, W, 3] from 0 to 1."""
    return gr.update(value=(_picture(full), _picture(quantized)), visible=True)


def nothing() -> Any:
    return gr.update(value=None, visible=False)


def _picture(given: Any) -> Image.Image:
    return Image.fromarray((given * 255).round().astype(np.uint8)) if isinstance(given, ndarray) else given
