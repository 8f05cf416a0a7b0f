"""The components of the relevance page's second step: policies, the table of bits and its maps."""

from __future__ import annotations

import gradio as gr
from gradio.components import Component

from ..parts import markup, steps
from ..parts.bits_table import ALL
from ..parts.forms import Fields, bits_slider
from ..running.run_parts import files_of, start_and_stop, status_line
from .settings import LIMITS, POLICIES, paper_options

EMPTY = steps.waiting("The table of bits appears here: choose bits, or score the layers first.")
IDLE = markup.banner("idle", "No bits chosen yet.")
LABELS = {
    "avg_weight_bits": "Average weight bits",
    "avg_act_bits": "Average activation bits",
    "size_mb": "Size (MB)",
    "gbops": "Arithmetic per picture (GBOP)",
}
NOTES = {
    "paper": "The first blocks get an extra bit; of each kind of layer, those with the lowest scores give "
    "one up.",
    "budget": "Finds the bits that lose least within your limits. A limit left empty means as many bits as "
    "possible (8).",
    "uniform": "The same bits for all layers: a start for changing single ones by hand. The picture itself "
    "keeps 8 bits.",
}
EDIT_NOTE = (
    "Double-click a cell to edit it: 4/4 is weight/activation bits, a single number means that the step has "
    "no weights."
)


class BitsView:
    """`fields`: how bits are chosen; `table` and what is shown of it."""

    def __init__(self) -> None:
        self.fields: Fields = {}
        with gr.Row(elem_classes="vq-page"):
            with gr.Column(scale=4, min_width=320, elem_classes="vq-form"):
                self._build_form()
            with gr.Column(scale=9, min_width=320, elem_classes="vq-results"):
                self._build_table()

    def _build_form(self) -> None:
        with gr.Group(elem_classes="vq-group"):
            policies = [(title, name) for name, title in POLICIES.items()]
            self.fields["policy"] = gr.Radio(policies, value="paper", label="How to choose", elem_id="policy")
            self.note = gr.HTML(markup.note(NOTES["paper"]), elem_classes="vq-noted")
            self.fields["base_weight"] = bits_slider("Weight bits to start from", "base-weight")
            self.fields["base_act"] = bits_slider("Activation bits to start from", "base-act")
            with gr.Row(equal_height=True) as self.paper:
                blocks, fewer = (option.label for option in paper_options().values())
                self.fields["first_blocks"] = gr.Number(2, label=blocks, min_width=130, elem_id="raised")
                self.fields["reductions"] = gr.Checkbox(True, label=fewer, min_width=130, elem_id="lowered")
            with gr.Row(equal_height=True, visible=False) as self.budget:
                for name in LIMITS:
                    # Not gr.Number: it shows 0 where it is empty.
                    self.fields[name] = gr.Textbox(
                        "", label=LABELS[name], placeholder="no limit", max_lines=1, min_width=150,
                        elem_id=name.replace("_", "-"),
                    )  # fmt: skip
        self.start, self.stop = start_and_stop("Choose bits", "allocate", "allocate-cancel")

    def _build_table(self) -> None:
        self.status = status_line(IDLE, "bits-status")
        self.empty = gr.HTML(EMPTY, elem_id="bits-empty")
        with gr.Column(visible=False, elem_id="bits") as self.panel:
            self.costs = gr.HTML(elem_id="costs")
            gr.HTML(markup.note(EDIT_NOTE))
            self.table = gr.Dataframe(
                type="array", interactive=True, datatype="str", static_columns=[0], pinned_columns=1,
                show_label=False, elem_id="bits-table", max_height=560, buttons=[],
            )  # fmt: skip
            self._build_many()
            with (
                gr.Accordion("The bits as maps", open=True, elem_id="bits-maps", elem_classes="vq-secondary"),
                gr.Row(elem_classes="vq-bits-maps"),
            ):
                self.weights = self._map("Weights", "weight-map")
                self.acts = self._map("Activations", "act-map")
        self.download, self.upload = files_of("bits")

    def _build_many(self) -> None:
        with gr.Row(elem_classes="vq-many"):
            self.rows = gr.Dropdown([ALL], value=ALL, label="Rows", min_width=110, elem_id="many-rows")
            self.columns = gr.Dropdown([ALL], value=ALL, label="Types", min_width=110, elem_id="many-types")
            self.text = gr.Textbox("4/4", label="Bits", max_lines=1, min_width=80, elem_id="many-bits")
            self.set = gr.Button("Set them all", min_width=110, elem_id="many-set")

    @staticmethod
    def _map(title: str, elem_id: str) -> gr.Plot:
        with gr.Column(min_width=300):
            gr.HTML(markup.note(f"Bits of the {title.lower()}"))
            return gr.Plot(show_label=False, elem_id=elem_id, elem_classes="vq-map")

    @property
    def outputs(self) -> set[Component]:
        return {
            self.status, self.empty, self.panel, self.costs, self.table, self.weights, self.acts,
            self.download, self.rows, self.columns,
        }  # fmt: skip
