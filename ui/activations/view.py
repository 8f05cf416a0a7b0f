"""The page's sentences and cards."""

from __future__ import annotations

from collections.abc import Mapping
from math import log10
from typing import Any

from vitq_core.experiment.tensors import Attempt

from ..parts import markup
from ..parts.site_names import layer_name, tensor_name

SMALL, LARGE = 0.02, 0.2  # shares of the whole error
LOUD = 0.001  # share of values kept exact that says something about the tensor


def choice(site: str, role: str, share: float | None) -> str:
    """What a list calls a tensor: readable, its share of the error, the dotted name."""
    layer, _, _ = site.partition(":")
    said = "" if share is None else f" — {100 * share:.1f} % of the error"
    return f"{layer_name(layer)}: {tensor_name(role)}{said} ({site})"


def cards(tried: Attempt, share: float | None) -> str:
    decibels = -10 * log10(max(tried.error, 1e-30))
    made = [
        markup.card("Rounding error", f"{100 * tried.error:.3g} %", "of the tensor's size, squared"),
        markup.card(
            "Signal to noise", f"{decibels:.1f} dB", "20 dB: the error has a tenth of the values' size"
        ),
        _traded(tried),
        markup.card("Bits", f"{tried.effective_bits:.2f}", "a value, counting what is kept exact"),
    ]
    if share is not None:
        made.append(
            markup.card("Share of the damage", f"{100 * share:.1f} %", "with this layer alone quantized")
        )
    return f'<div class="vq-cards vq-four" aria-live="polite">{"".join(made)}</div>'


def _traded(tried: Attempt) -> str:
    """What the tensor's own option is about."""
    if tried.output_error is None:
        return markup.card("Kept exact", f"{100 * tried.kept:.3g} %", "of the values stay in floating point")
    said = "of its size, squared: the weights take what the channels lose"
    return markup.card("Error of the output", f"{100 * tried.output_error:.3g} %", said)


def shares(tried: Mapping[str, Attempt]) -> tuple[str, dict[str, float]]:
    """Of every tensor alike, with what it is: what is kept, the output's error, or its own."""
    if any(each.kept for each in tried.values()):
        return "kept exact", {name: each.kept for name, each in tried.items()}
    outputs = {name: each.output_error for name, each in tried.items()}
    if None not in outputs.values():
        return "error of the output", outputs
    return "rounding error", {name: each.error for name, each in tried.items()}


def advice(role: str, tried: Attempt, share: float | None, offered: Any) -> str:
    """A sentence: what to try for this tensor."""
    if share is not None and share < SMALL:
        return "This layer hardly matters: it can have fewer bits."
    if "alpha" in offered and tried.kept < LOUD:
        return (
            "Few values are kept exact: lower α, and see whether the error falls faster than the bits rise."
        )
    if "alpha" in offered:
        return "Raise α until the kept values cost no more than they save."
    if "log_base" in offered:
        return (
            "Try a smaller log base: it spends its codes on large values, a larger one reaches further down."
        )
    if "clip_k" in offered:
        return (
            "A small k evens out the channels and leaves their spread to the weights: look for the k with "
            "the least error of the output."
        )
    if role == "post_layernorm":
        return (
            "A few channels may span most of the range: try a method that gives every channel its own scale."
        )
    if role in ("query", "key", "value"):
        return "Try VitQ: it turns the heads so that no channel stands out."
    if role == "weight":
        return "Give the weights of this layer a bit more, or fine-tune: rounding can be learned."
    return "Give this layer a bit more, on the page Relevance & bits."


def where(site: str, role: str) -> str:
    layer, _, _ = site.partition(":")
    return markup.note(f"{layer_name(layer)}, {tensor_name(role)}: {site}")
