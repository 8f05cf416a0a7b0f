"""Another tab is opened in the browser.

Not by an update of Gradio's tabs: from then on it would look through all they hold at every event.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

OPEN = """(name) => {
    document.querySelector(`button[role=tab][data-tab-id="${CSS.escape(name || '')}"]`)?.click()
    return ''
}"""


def open_tab(after: Any, name: gr.Textbox) -> None:
    """After this event the tab that `name` names; none where it is empty, as it then is."""
    after.then(None, name, name, js=OPEN)
