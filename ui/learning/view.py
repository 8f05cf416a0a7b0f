"""What learning did, module by module: a plot and a table."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from ..parts import markup, tables
from ..parts.outcome import Outcome
from . import module_errors as errors_text
from .plots import COLORS, errors_figure

MEANING = (
    "The error is the part of a module's output that is noise, ‖O − Ô‖² / ‖O‖², measured before and after "
    "learning on the same pictures, with everything before the module quantized: 1 % is 20 dB. In VitQ's "
    "blocks each token counts as a share of its own size, the class token more."
)

WIDTHS = [160, 80, 80, 85, 65, 80, 370]


@dataclass(frozen=True)
class ModulesView:
    """`panel` is hidden unless something was learned."""

    panel: gr.Accordion
    note: gr.HTML
    plot: gr.Plot
    table: gr.Dataframe

    @property
    def outputs(self) -> set[Component]:
        return set(vars(self).values())


def build_modules(prefix: str = "") -> ModulesView:
    with gr.Accordion("Module by module", open=True, visible=False, elem_id=f"{prefix}modules") as panel:
        note = gr.HTML(elem_id=f"{prefix}modules-note")
        plot = gr.Plot(show_label=False, elem_id=f"{prefix}errors")
        table = gr.Dataframe(
            headers=tables.MODULE_HEADERS, datatype=tables.MODULE_TYPES, interactive=False, max_height=420,
            column_widths=WIDTHS, wrap=True, show_label=False, elem_id=f"{prefix}modules-table",
            elem_classes="vq-table",
        )  # fmt: skip
    return ModulesView(panel, note, plot, table)


def show_modules(view: ModulesView, outcome: Outcome) -> Mapping[Component, Any]:
    """Nothing where nothing was learned."""
    rows = outcome.result.report.units
    if not outcome.total_modules:
        return {view.panel: gr.update(visible=False)}
    said = markup.note(f"{errors_text.summary(rows, outcome.total_modules)} {MEANING}")
    return {
        view.panel: gr.update(visible=True),
        view.note: said + (markup.legend(COLORS) if rows else ""),
        view.plot: gr.update(value=errors_figure(rows) if rows else None, visible=bool(rows)),
        view.table: gr.update(value=tables.module_rows(rows), visible=bool(rows)),
    }
