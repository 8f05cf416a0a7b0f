"""One page opens what another one names, or says why it cannot."""

from __future__ import annotations

from types import SimpleNamespace

import gradio as gr

from ui.parts.settings import RunSettings
from ui.running.opening import connect_opening


def test_what_is_found_is_loaded_and_its_tab_comes_to_the_front() -> None:
    settings, found = RunSettings("demo-vit", "minmax"), []
    with gr.Blocks() as studio:
        button, status, field = gr.Button(), gr.HTML(), gr.Textbox()
        page = SimpleNamespace(loads={field}, load=lambda asked: {field: asked.title})

        def find(data, request):
            if not found:
                raise ValueError("There is nothing to open.")
            return found[0]

        connect_opening(button, find, set(), status, page, "Quantize")
    opened, clicked = studio.fns.values()
    assert "button[role=tab]" in clicked.js
    opened, (tab,) = opened.fn, clicked.inputs
    assert "There is nothing to open." in opened({}, None)[status]
    found.append(settings)
    seen = opened({}, None)
    assert seen[field] == settings.title and seen[tab] == "Quantize"
