"""What is around every page of the studio."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from .model_bar import ModelBar


@dataclass(frozen=True)
class Frame:
    """`arrived`: the event after which it is known whose the browser's page is."""

    studio: gr.Blocks
    bar: ModelBar
    arrived: Any
