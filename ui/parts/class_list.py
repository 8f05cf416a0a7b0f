"""Everything a model can answer, and a box that shows a part of it.

The box is part of the list, not a field of Gradio's: a list that arrives while somebody types would be whole
again beside a word that is still in the box.
"""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from vitq_core.experiment import counted

from .markup import note

# In the browser: a word that is typed is followed at once, and nobody's server is asked.
FIND = """
element.addEventListener('input', (event) => {
    const sought = event.target.value.trim().toLowerCase();
    const names = [...element.querySelectorAll('.vq-classes li')];
    for (const name of names) name.hidden = !name.textContent.toLowerCase().includes(sought);
    const shown = names.filter((name) => !name.hidden).length;
    element.querySelector('.vq-found').textContent = sought ? `${shown} of ` : '';
});
"""
BOX = (
    '<label class="vq-find">Find a class<input type="search" placeholder="part of a name" '
    'autocomplete="off"></label>'
)


def class_list() -> gr.HTML:
    """Its value is made by `classes`."""
    return gr.HTML(js_on_load=FIND)


def classes(model: Any) -> str:
    """What `model` (of `load_model`) can answer, by the alphabet."""
    if model.info.task == "features":
        return note("This model describes pictures and names nothing, so it has no classes.")
    if not model.labels:
        count = counted(model.classes, "class", "classes") if model.classes else "classes"
        return note(f"This model came without names for its {count}: its answers are numbers.")
    items = "".join(f"<li>{escape(name)}</li>" for name in sorted(model.labels, key=str.casefold))
    count = counted(len(model.labels), "class", "classes")
    said = f'<p class="vq-note" aria-live="polite"><span class="vq-found"></span>{count}</p>'
    # Reached by the keyboard, so that it can be scrolled without a mouse.
    return f'{BOX}{said}<ul class="vq-classes" tabindex="0" aria-label="Classes">{items}</ul>'
