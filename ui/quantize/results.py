"""The right column: what a run saved and what it lost."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.blocks import Block
from gradio.components import Component
from PIL import Image

from vitq_core.experiment.samples import package_photographs

from ..explaining.explained import Question
from ..learning.live import Live
from ..learning.view import ModulesView, build_modules, show_modules
from ..parts import divider, markup, plots, tables
from ..parts.class_list import class_list, classes
from ..parts.outcome import Neighbours, Outcome, Pair
from ..parts.raw_inputs import raw_image
from ..parts.thumbnails import SHOWN_SIDE, thumbnails
from ..running.run_parts import care, model_download, status_line

IDLE = markup.banner("idle", "Nothing quantized yet.", "Press Quantize: the settings work as they are.")
PLOT_NOTE = (
    "How much of each tensor survives its quantizer, from the picture on the left to the answer on the "
    "right: 20 dB means that the error has a tenth of the values' size. Hover for the layer."
)


@dataclass(frozen=True)
class Results:
    """The components of a result; `panel` is hidden until there is one."""

    live: Live
    modules: ModulesView
    status: gr.HTML
    placeholder: gr.HTML
    panel: gr.Column
    cards: gr.HTML
    warning: gr.HTML
    gallery_note: gr.HTML
    gallery: gr.Gallery
    photographs: gr.Gallery
    picture: gr.Image
    verdict: gr.HTML
    bars: gr.HTML
    divider: gr.ImageSlider
    looked: gr.State  # the Question that the picture on the page asks, None before there is one
    answers: gr.HTML
    legend: gr.HTML
    plot: gr.Plot
    facts: gr.HTML
    sites: gr.Dataframe
    download: gr.Button
    report: gr.Button

    @property
    def outputs(self) -> set[Component]:
        own = {component for component in vars(self).values() if isinstance(component, Block)}
        return own | self.modules.outputs


def build_results() -> Results:
    status, live = status_line(IDLE, "status"), Live("live")
    placeholder = gr.HTML(markup.placeholder(), elem_id="placeholder")
    with gr.Column(visible=False, elem_id="results") as panel:
        cards, warning = gr.HTML(elem_id="cards"), gr.HTML(visible=False)
        download = model_download("download")
        report = gr.Button("Download this page as a file", size="sm", elem_id="report")
        with gr.Row(elem_classes="vq-compare"):
            gallery_note, gallery, photographs = _gallery()
            picture, verdict, bars, looks, looked = _detail()
        with gr.Accordion("Everything this model can answer", open=False, elem_id="classes"):
            answers = class_list()
        modules = build_modules()
        with gr.Accordion("Layer by layer", open=False, elem_id="layers"):
            legend, plot, facts, sites = _layers()
    return Results(
        live, modules, status, placeholder, panel, cards, warning, gallery_note, gallery, photographs,
        picture, verdict, bars, looks, looked, answers, legend, plot, facts, sites, download,
        report,
    )  # fmt: skip


def _gallery() -> tuple[gr.HTML, gr.Gallery, gr.Gallery]:
    with gr.Column(scale=1, min_width=300):
        note = gr.HTML()
        gallery = gr.Gallery(
            columns=4, object_fit="cover", allow_preview=False, show_label=False,
            interactive=False, buttons=[], elem_id="gallery", elem_classes="vq-gallery",
        )  # fmt: skip
        photographs = _photographs()
    return note, gallery, photographs


def _photographs() -> gr.Gallery:
    found = [str(path) for path in package_photographs()]
    gr.HTML(
        markup.note(
            "Photographs to try. They show ordinary things, so a model that knows other things answers oddly."
        ),
        visible=bool(found),
    )
    return gr.Gallery(
        found, columns=6, object_fit="cover", allow_preview=False, show_label=False, interactive=False,
        buttons=[], elem_id="photographs", visible=bool(found),
    )  # fmt: skip


def _detail() -> tuple[gr.Image, gr.HTML, gr.HTML, gr.ImageSlider, gr.State]:
    with gr.Column(scale=1, min_width=300):
        gr.HTML(markup.note("Click a picture to see what both models say, or drop your own here."))
        picture = raw_image(
            show_label=False, sources=["upload", "clipboard"], height=240, elem_id="picture", buttons=[],
            elem_classes="vq-picture", placeholder="Drop a picture here",
        )  # fmt: skip
        verdict, bars = gr.HTML(elem_id="verdict"), gr.HTML(elem_id="bars")
        looks = divider.divider("Where the models look", "divider")
    return picture, verdict, bars, looks, gr.State(None)


def _layers() -> tuple[gr.HTML, gr.Plot, gr.HTML, gr.Dataframe]:
    gr.HTML(markup.note(PLOT_NOTE))
    legend = gr.HTML(elem_id="legend")
    plot = gr.Plot(show_label=False, elem_id="sqnr")
    facts = gr.HTML()
    sites = gr.Dataframe(
        headers=tables.HEADERS, datatype=tables.TYPES, interactive=False, max_height=420, show_label=False,
        elem_id="sites",
    )  # fmt: skip
    return legend, plot, facts, sites


def show_outcome(results: Results, outcome: Outcome) -> Mapping[Component, Any]:
    """Everything a finished run puts on the page, its most telling picture included."""
    report = outcome.result.report
    return {
        results.placeholder: gr.update(visible=False),
        results.panel: gr.update(visible=True),
        results.cards: markup.cards(outcome),
        results.warning: care(outcome.warning),
        results.gallery_note: markup.gallery_note(outcome),
        results.gallery: gr.update(value=thumbnails(outcome), selected_index=None),
        results.answers: classes(outcome.model),
        results.legend: markup.legend(plots.role_colors(report.sites)),
        results.plot: plots.sqnr_figure(report.sites),
        results.facts: markup.facts(outcome),
        results.sites: tables.site_rows(report.sites),
        **show_modules(results.modules, outcome),
        **show_sample(results, outcome, outcome.order[0]),
    }


def show_sample(results: Results, outcome: Outcome, index: int) -> Mapping[Component, Any]:
    sample = outcome.reference.samples[index]
    settings = outcome.settings
    question = Question(settings.model, ("held-out", settings, index), sample.name, quantized=settings)
    return show_pair(results, outcome, outcome.pair(index), sample.read(), question)


def show_pair(
    results: Results, outcome: Outcome, pair: Pair | Neighbours, picture: Image.Image, question: Question
) -> Mapping[Component, Any]:
    """One picture with both models' answers; what they look at comes later."""
    shown = picture.copy()
    shown.thumbnail((SHOWN_SIDE, SHOWN_SIDE))
    return {
        results.picture: shown,
        results.verdict: markup.verdict(pair, question.name),
        results.bars: _details(outcome, pair),
        results.divider: divider.nothing(),
        results.looked: question,
    }


def _details(outcome: Outcome, pair: Pair | Neighbours) -> str:
    if isinstance(pair, Neighbours):
        return markup.neighbours(outcome, pair)
    return markup.both(pair, outcome.settings.bits)
