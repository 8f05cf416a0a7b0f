"""How much a run learns after calibrating: the choice, what it means, and how long it may take."""

import json
from html import escape
from typing import Any

import gradio as gr

from vitq_core import EFFORTS, Schedule
from vitq_core.experiment import EFFORT_NAMES, is_name

from ..parts.checks import number_in, whole
from ..parts.forms import LIGHT, Fields
from ..parts.glossary import explained
from ..parts.method_options import AUTOMATIC
from ..parts.model_list import offered
from ..parts.settings import MAX_ITERATIONS, NO_EFFORT

FEW_PICTURES = 32  # what calibration alone needs
MEANINGS = {
    "quick": "a first try",
    "standard": "more pictures and more steps",
    "paper": "as published",
}
ALONE = "round every number; takes seconds"
KEPT = (
    "Fine-tuning corrects the rounding of one layer group after the other, until each answers nearly as it "
    "did before. Times are guesses for two processor cores. A run that is cancelled goes on where it stopped "
    "when you start it again with the same settings."
)
MACS_PER_SECOND = 25e9  # of two cores: quick effort on demo-vit took 40 s with `adfq`, 40 to 55 s with `vitq`
TOKENS = {True: 65, False: 197}  # of the bundled models, and of those for ImageNet


def effort_fields(fields: Fields, prefix: str = "") -> gr.HTML:
    """The choice and what it means on the model that `fields` has."""
    names = [(name.capitalize(), name) for name in EFFORT_NAMES]
    fields["effort"] = gr.Radio(
        names, value=NO_EFFORT, label="Fine-tuning effort: how long to repair the rounding damage",
        elem_id=f"{prefix}effort", elem_classes="vq-effort",
    )  # fmt: skip
    return gr.HTML(efforts_list(fields["model"].value, NO_EFFORT), elem_classes="vq-noted")


def iterations_field(fields: Fields, prefix: str = "") -> None:
    """Text, because Gradio's box for numbers turns an empty one into 0."""
    fields["iterations"] = gr.Textbox(
        "", label="Correction steps per layer group", placeholder=AUTOMATIC, interactive=False, max_lines=1,
        elem_id=f"{prefix}iterations",
    )  # fmt: skip


def follow_effort(fields: Fields, note: gr.HTML) -> None:
    """Keep the explanation, and how many pictures are read, in step with the choice."""
    model, effort, iterations = fields["model"], fields["effort"], fields["iterations"]
    count = fields["calibration"]
    # First: Gradio asks the listeners to an event one after the other, and the others wait for the server.
    effort.change(None, [effort, count], [iterations, count], js=_follow_script(), **LIGHT)
    gr.on(
        [model.change, effort.change, iterations.change],
        efforts_list, [model, effort, iterations], note, trigger_mode="always_last", **LIGHT,
    )  # fmt: skip


def _follow_script() -> str:
    """A number of pictures that some effort asks for follows the effort; one that a person chose stays.

    In the browser: a server's answer could arrive after another number was typed, and would undo it.
    """
    asked = json.dumps({name: pictures_for(name) for name in EFFORT_NAMES})
    return f"""(effort, count) => {{
        const asked = {asked}
        const steps = {{__type__: 'update', interactive: effort !== {json.dumps(NO_EFFORT)}}}
        return [steps, Object.values(asked).includes(count) ? asked[effort] : count]
    }}"""


def pictures_for(effort: Any) -> int:
    return EFFORTS[effort].pictures if is_name(effort, EFFORTS) else FEW_PICTURES


def efforts_list(model_id: str, chosen: str, iterations: Any = None) -> str:
    """A line for every effort, the chosen one marked."""
    lines = {NO_EFFORT: ALONE}
    lines |= {name: _line(name, schedule, model_id, iterations) for name, schedule in EFFORTS.items()}
    items = "".join(_item(name, line, name == chosen) for name, line in lines.items())
    more = f"<p>{explained(KEPT)}</p>" if chosen != NO_EFFORT else ""
    return f'<div class="vq-note vq-efforts"><ul>{items}</ul>{more}</div>'


def _item(name: str, line: str, chosen: bool) -> str:
    mark = ' class="vq-chosen"' if chosen else ""
    return f"<li{mark}><b>{escape(name.capitalize())}</b><span>{escape(line)}</span></li>"


def _line(name: str, schedule: Schedule, model_id: str, typed: Any) -> str:
    iterations = number_in(typed)
    given = iterations is not None and not whole(iterations, 1, MAX_ITERATIONS)
    steps = int(iterations) if given else schedule.iterations
    time = spoken(seconds(steps, schedule, model_id)).replace(" ", "\N{NO-BREAK SPACE}")
    meaning = MEANINGS.get(name) if steps == schedule.iterations else None
    many = "1 correction step" if steps == 1 else f"{steps:,} correction steps"
    return f"{meaning or 'as many as you say'}: {many} per layer group, about {time}"


def seconds(steps: int, schedule: Schedule, model_id: str) -> float:
    """A rough guess from the size of the model, before anything is loaded."""
    info = offered(model_id)
    if info is None:
        return 0.0
    return schedule.passes(schedule.pictures, steps) * info.params * TOKENS[info.bundled] / MACS_PER_SECOND


def spoken(seconds: float) -> str:
    """Of a rough guess: two digits at most."""
    if seconds < 90:
        return f"{max(10 * round(seconds / 10), 10)} s"
    minutes = seconds / 60
    if minutes < 90:
        return f"{round(minutes) if minutes < 10 else 5 * round(minutes / 5)} min"
    return f"{minutes / 60:.0f} h" if minutes < 48 * 60 else f"{minutes / 60 / 24:.0f} days"
