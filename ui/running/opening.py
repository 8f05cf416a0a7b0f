"""Settings that one page takes from another: a run that is looked at again, options that were tried."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import gradio as gr
from gradio.components import Component

from ..parts import markup
from ..parts.forms import LIGHT
from ..parts.opened_tab import open_tab
from ..parts.settings import RunSettings
from .runs import Data, Updates, sentence


class Opens(Protocol):
    """A page that takes settings: `loads` are the components that `load` changes."""

    loads: set[Component]

    def load(self, settings: RunSettings) -> Updates: ...


def connect_opening(
    button: gr.Button,
    find: Callable[[Data, gr.Request], RunSettings],
    inputs: set[Component],
    status: gr.HTML,
    page: Opens,
    name: str,
) -> None:
    """At a click `page`, whose tab is called `name`, opens what `find` gives; `status` says why it cannot."""

    tab = gr.Textbox(label="Tab to open", visible=False)

    def opened(data: Data, request: gr.Request) -> Updates:
        try:
            return {**page.load(find(data, request)), tab: name}
        except Exception as error:
            return {status: markup.banner("error", "Nothing was opened.", sentence(error))}

    open_tab(button.click(opened, inputs, {status, tab, *page.loads}, **LIGHT), tab)
