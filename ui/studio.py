"""The whole studio as one Gradio Blocks."""

from collections.abc import Callable
from typing import Any

import gradio as gr

from .activations import tab as activations_tab
from .api import add_endpoints
from .parts import markup
from .parts.forms import LIGHT
from .parts.visitors import is_token, new_token
from .quantize import tab as quantize_tab
from .relevance import tab as relevance_tab
from .running.run_parts import SHOW_BANNERS
from .segment import tab as segment_tab
from .tradeoffs import tab as tradeoffs_tab
from .workbench import Workbench

Build = Callable[[Workbench, gr.Blocks, gr.Tab], Any]  # the page, or None
TABS: tuple[tuple[str, Build], ...] = (
    ("Quantize", quantize_tab.build),
    ("Trade-offs", tradeoffs_tab.build),
    ("Activations", activations_tab.build),
    ("Relevance & bits", relevance_tab.build),
    ("Segment", segment_tab.build),
)
DAY = 24 * 60 * 60


def build_studio(bench: Workbench | None = None) -> gr.Blocks:
    """Every tab around one workbench; uploads and results older than a day are deleted."""
    bench = bench or Workbench()
    with gr.Blocks(
        title="VitQ Studio", analytics_enabled=False, delete_cache=(DAY // 24, DAY), fill_width=True
    ) as studio:
        gr.HTML(markup.title())
        _connect_visitors(bench, studio)
        pages = {}
        with gr.Tabs() as tabs:
            for name, build in TABS:
                with gr.Tab(name, id=name) as tab:
                    pages[name] = build(bench, studio, tab)
        for name in ("Trade-offs", "Activations"):
            pages[name].connect_opening(pages["Quantize"], tabs, "Quantize")
        studio.load(None, js=SHOW_BANNERS)
        add_endpoints(bench)
    bench.uploads.keep_all()
    return studio


def _connect_visitors(bench: Workbench, studio: gr.Blocks) -> None:
    """A browser keeps a token, by which its visitor's runs are known again after a reload."""
    token = gr.BrowserState("", storage_key="vitq-visitor", secret="vitq")

    def arrived(known: str, request: gr.Request) -> str:
        shown = known if is_token(known) else new_token()
        bench.visitors.know(request.session_hash, shown)
        return shown

    def left(request: gr.Request) -> None:
        bench.visitors.forget(request.session_hash)

    studio.load(arrived, token, token, **LIGHT)
    studio.unload(left)


def theme() -> gr.themes.Base:
    """System fonts: a page that works offline cannot fetch others."""
    return gr.themes.Default(
        primary_hue="indigo",
        secondary_hue="indigo",
        neutral_hue="slate",
        radius_size="md",
        font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"],
        font_mono=["ui-monospace", "SFMono-Regular", "Menlo", "monospace"],
    ).set(
        body_background_fill="*neutral_50",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_text_color="white",
        body_text_color_subdued="*neutral_500",
        slider_color="*primary_600",
        checkbox_label_background_fill_selected="*primary_50",
        checkbox_label_background_fill_selected_dark="*primary_950",
        checkbox_label_border_color_selected="*primary_600",
        checkbox_background_color_selected="*primary_600",
        checkbox_border_color_selected="*primary_600",
        checkbox_border_color_dark="*neutral_500",
    )
