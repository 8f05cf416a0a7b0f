"""The relevance page's pieces of HTML."""

from __future__ import annotations

from html import escape
from math import isfinite, isnan

import vitq_core as vq
from vitq_core.experiment import overlay

from ..explaining.explained import Explained, View
from ..parts import markup, steps
from ..parts.data_url import as_url

# Correlations of maps of patches from which a sentence says so. Single pixels of two models hardly correlate.
ALIKE, DIFFERENT = 0.9, 0.5
NOT_YET = "Quantize it, and the quantized model's map appears here."
NO_PATCHES = "Attention within windows makes no map of patches, so this is the map of pixels."
FEATURES = "what its features depend on"
NAMELESS = "This model names nothing: the map shows what its features depend on."
KINDS = {"patches": "patch by patch", "pixels": "pixel by pixel"}


def certainty(importance: vq.Importance) -> str:
    """How sure the scores are, in a sentence."""
    error, seen = importance.relative_error, markup.pictures(importance.pictures)
    if isnan(error):
        return markup.note(f"After {seen} nothing can be said about how sure the scores are; use more.")
    sure = f"After {seen}, scores are typically accurate to ±{100 * error:.0f} %"
    advice = "; to halve that takes four times as many pictures." if error > 0.25 else "."
    ranges = "Colours: the score, on a logarithmic scale. Numbers: a block's share of its column in percent."
    return markup.note(f"{sure}{advice} {ranges}")


def costs(cost: vq.TableCost, base: vq.TableCost, base_bits: tuple[int, int]) -> str:
    """What a table costs, beside the same bits everywhere."""
    uniform = f"W{base_bits[0]}/A{base_bits[1]}"
    rows = (
        ("Weight bits", f"{cost.avg_weight_bits:.2f}", cost.avg_weight_bits, base.avg_weight_bits, ""),
        ("Activation bits", f"{cost.avg_act_bits:.2f}", cost.avg_act_bits, base.avg_act_bits, ""),
        ("Size", f"{cost.size_mb:.2f} MB", cost.size_mb, base.size_mb, " MB"),
        ("Arithmetic per picture", f"{cost.gbops:.2f} GBOP", cost.gbops, base.gbops, " GBOP"),
    )
    made = "".join(
        markup.card(name, text, _beside(now, was, unit, uniform)) for name, text, now, was, unit in rows
    )
    return f'<div class="vq-cards vq-four" aria-live="polite">{made}</div>'


def _beside(now: float, was: float, unit: str, uniform: str) -> str:
    change = 100 * (now / was - 1) if was else 0.0
    text = f"{markup.signed(change)} %" if isfinite(change) and abs(change) >= 0.05 else "the same"
    return f"{text}; {uniform} everywhere: {was:.2f}{unit}"


def maps(explained: Explained | None, kind: str) -> str:
    """The picture, and why each model says what it says about it, side by side."""
    if explained is None:
        return steps.waiting("Click a picture or drop one, and the parts that support the answer light up.")
    picture = _figure("Picture", "what the models see", as_url(overlay.plain(explained.picture)))
    full = _view("Full precision", explained.full, explained, kind, "full")
    if explained.quantized is None:
        empty = f'<div class="vq-blank">{escape(NOT_YET)}</div>'
        quantized = f'<figure class="vq-quantized">{empty}{_caption("Quantized", "nothing yet")}</figure>'
    else:
        quantized = _view("Quantized", explained.quantized, explained, kind, "quantized")
    return f'<div class="vq-maps">{picture}{full}{quantized}</div>{_scale(kind)}'


def _view(heading: str, view: View, explained: Explained, kind: str, css: str) -> str:
    why = FEATURES if view.answer is None else _reason(view.answer, view.target)
    url = as_url(overlay.overlay(explained.picture, view.map(kind), kind))
    return _figure(heading, why, url, css)


def _reason(said: tuple[str, float], target: tuple[str, float]) -> str:
    why = f"{said[0]} {markup.percent(said[1])}"
    return why if target[0] == said[0] else f"{why}; the map: why {target[0]} ({markup.percent(target[1])})"


def _figure(heading: str, text: str, url: str, css: str = "") -> str:
    alt = escape(f"{heading}: {text}", quote=True)
    return f'<figure class="vq-{css}"><img src="{url}" alt="{alt}">{_caption(heading, text)}</figure>'


def _caption(heading: str, text: str) -> str:
    return f"<figcaption><b>{escape(heading)}</b><span>{escape(text)}</span></figcaption>"


def _scale(kind: str) -> str:
    cold = "<span>against</span><i class='vq-cold'></i>" if kind == "pixels" else ""
    return f'<div class="vq-scale">{cold}<i class="vq-warm"></i><span>supports the answer</span></div>'


def comparison(explained: Explained, kind: str, name: str, truth: str | None) -> str:
    """What both models say, and how alike their maps are, in a line."""
    shows = f"It shows: {truth}." if truth else name
    full, quantized = explained.full, explained.quantized
    if full.answer is None:
        alike = "" if quantized is None else _alike(explained, kind)
        return markup.verdict_line("same", NAMELESS, f"{shows} {alike}", explained.unlike)
    if quantized is None:
        return markup.verdict_line("same", f"Full precision says {full.answer[0]}.", shows)
    flipped = full.answer[0] != quantized.answer[0]
    said = (
        f"Changed answer: {full.answer[0]} → {quantized.answer[0]}."
        if flipped
        else f"Both say {full.answer[0]}."
    )
    changed = "flipped" if flipped else "same"
    return markup.verdict_line(changed, said, f"{shows} {_alike(explained, kind)}", explained.unlike)


def _alike(explained: Explained, kind: str) -> str:
    value = explained.similarity(kind)
    if value is None:
        return "One of the maps is flat, so they cannot be compared."
    number = f"{value:.2f} (1 = identical)".replace("-", "−")
    if kind == "pixels":
        return f"Likeness {KINDS[kind]}: {number}."
    close = "look at the same places" if value >= ALIKE else "partly look elsewhere"
    words = close if value >= DIFFERENT else "look at different places"
    return f"They {words}. Likeness {KINDS[kind]}: {number}."
