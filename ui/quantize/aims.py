"""What most people want, said first: three aims, each of which fills in the form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import gradio as gr

from vitq_core.experiment import is_name
from vitq_core.experiment.measure import Progress, part_of

from ..parts.forms import first_recipe
from ..parts.jobs import Job
from ..parts.outcome import Outcome
from ..parts.settings import RunSettings
from ..parts.stored_outcome import run_settings
from ..workbench import Reached, Workbench

OWN, SMALLEST, SAFEST, BALANCED = "own", "smallest", "safest", "balanced"
AIMS = (
    ("Smallest that keeps every answer", SMALLEST),
    ("Safest", SAFEST),
    ("Best for its size", BALANCED),
    ("My own settings", OWN),
)
SAID = {
    SMALLEST: "Tries 8, 6, 5, 4, 3 and 2 bits in turn, and keeps the fewest with which no answer changes.",
    SAFEST: "8 bits everywhere: about a quarter of the size, and the least rounding there is.",
    BALANCED: "4 bits: about an eighth of the size; the result shows which answers that costs.",
    OWN: "Every setting below is yours.",
}
TRIED = (8, 6, 5, 4, 3, 2)
BITS = {SMALLEST: TRIED[0], SAFEST: 8, BALANCED: 4}
ALIKE = 0.99  # cosine from which features count as the same answer


def filled(aim: Any) -> dict[str, Any]:
    """{field: value} that an aim sets; none of one's own settings, and of what is no aim."""
    if not is_name(aim, BITS):
        return {}
    return {"recipe": first_recipe(), "weight_bits": BITS[aim], "act_bits": BITS[aim]}


def sentence(aim: Any) -> str:
    """What an aim does; empty for what is none."""
    return SAID[aim] if is_name(aim, SAID) else ""


def attempts(settings: RunSettings) -> Iterator[RunSettings]:
    """The runs that look for the smallest model, largest first."""
    for bits in TRIED:
        yield replace(settings, weight_bits=bits, act_bits=bits)


def keeps_all(outcome: Outcome) -> bool:
    """Whether no answer changed; of features, whether each is still alike."""
    if outcome.classifies:
        return not outcome.flips.any()
    return bool((outcome.cosines >= ALIKE).all())


def make_smallest(
    bench: Workbench,
    wanted: Mapping[str, Any],
    owner: str,
    progress: Progress | None = None,
    job: Job | None = None,
) -> Reached:
    """The fewest bits that change no answer, the most where all do."""
    best, total = None, len(TRIED)
    for number, settings in enumerate(attempts(run_settings(wanted["settings"]))):
        outcome = bench.quantize(settings, part_of(progress, number / total, (number + 1) / total), job)
        bench.keep(outcome.record, owner)
        kept = keeps_all(outcome)
        best = outcome if kept or best is None else best
        if not kept:
            break
    return Reached(best.settings)


def found(best: Outcome) -> tuple[str, str]:
    """The banner of what the search came to: its kind, and what there is to say."""
    bits = best.settings.weight_bits
    if not keeps_all(best):
        return "warning", f"Even with {bits} bits an answer changes; these are the most there are."
    if bits == min(TRIED):
        return "done", "No answer changes, even with the fewest bits there are."
    return "done", f"No answer changes; with {TRIED[TRIED.index(bits) + 1]} bits one does."


def radio() -> gr.Radio:
    return gr.Radio(list(AIMS), value=OWN, label="What do you want?", elem_id="aim")
