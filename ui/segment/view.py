"""The Segment page's pieces of HTML: what is drawn over the picture, and the numbers beside it."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np
from numpy import ndarray
from PIL import Image

from vitq_core.experiment import counted
from vitq_core.experiment.prompted import Tried

from ..parts import divider, markup, steps
from ..parts.prompt_canvas import box_mark, joined, mask_mark, point_mark
from . import colours
from .answers import Compared, Told
from .visit import Picture, Thing, Visit

HELP = (
    "Click on an object; Shift-click, or use the right button, on what does not belong to it; drag a box "
    "around it. By keyboard: arrow keys move a cursor, Enter clicks, Shift+Enter clicks beside, B sets a "
    "box's corners, Escape gives up, Ctrl+Z undoes."
)
TOUCH = "Tap an object, or draw a box around it. What does not belong to it: choose “not on it” first."
BEGIN = "Click on something in the picture, or drag a box around it."
ONLY_BESIDE = "So far you only said what the object is not. Click on the object, or draw a box around it."
QUANTIZE_FIRST = "Quantize the model, and its mask appears here beside this one."
SAME_ENOUGH = 0.995  # IoU from which two masks are called the same
NAMES = {"full": "Full precision", "quantized": "Quantized"}


def help_lines() -> str:
    """How to point, for mice and for fingers; the stylesheet shows one of them."""
    return f'<div class="vq-mouse">{markup.note(HELP)}</div><div class="vq-touch">{markup.note(TOUCH)}</div>'


def spoken(picture: Picture) -> str:
    """What a screen reader says of the picture to point at."""
    width, height = picture.size
    return f"{picture.name}, {width} by {height} pixels. {HELP}"


def marks(visit: Visit, answers: Mapping[int, Compared], chosen: str) -> str:
    """Masks, boxes, clicks and the objects' numbers; `chosen`: one of `colours.LAYERS`."""
    masks = [mask_mark(colours.overlay_url(_layers(visit, answers, chosen)))] if answers else []
    size, many = visit.picture.size, len(visit.pointed) > 1
    pointed = [_pointed(thing, size, number != visit.active) for number, thing in visit.pointed]
    numbers = [_number(number, answers[number].full.mask) for number in answers if many]
    return joined([*masks, *pointed, *numbers])


def _layers(visit: Visit, answers: Mapping[int, Compared], chosen: str) -> ndarray:
    others = [found.full.mask for number, found in answers.items() if number != visit.active]
    active = answers.get(visit.active)
    if active is None:
        return colours.under(np.zeros(others[0].shape, np.uint8), others)
    quantized = active.quantized.mask if active.quantized else None
    return colours.under(colours.layer(active.full.mask, quantized, chosen), others)


def _pointed(thing: Thing, size: tuple[int, int], faint: bool) -> str:
    box = [box_mark(thing.box, size, faint)] if thing.box else []
    clicks = zip(thing.points, thing.labels, strict=True)
    return joined([*box, *(point_mark(place, bool(label), size, faint) for place, label in clicks)])


def _number(number: int, mask: ndarray) -> str:
    """An object's number, in the middle of its mask; nothing where that is empty."""
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return ""
    left, top = 100 * columns.mean() / mask.shape[1], 100 * rows.mean() / mask.shape[0]
    return f'<b class="vq-number" style="left:{left:.2f}%;top:{top:.2f}%">{number + 1}</b>'


def legend() -> str:
    items = (
        ("vq-in-both", "in both masks"),
        ("vq-in-full", "in full precision only"),
        ("vq-in-quantized", "in quantized only"),
        ("vq-in-other", "other objects"),
    )
    made = "".join(f'<li><i class="{name}"></i>{escape(text)}</li>' for name, text in items)
    return f'<ul class="vq-legend vq-masks">{made}</ul>'


def cards(found: Compared | None) -> str:
    """The numbers of the active object."""
    if found is None:
        return steps.waiting("How far the masks agree, and what the models expect of them, appears here.")
    full = markup.card("Expected, full precision", _share(found.full.iou), "the IoU that the model expects")
    if found.quantized is None:
        return _grid(full + markup.card("Size of the mask", *_size(found.full)))
    made = (
        markup.card("Agreement", _share(found.iou), _agreement(found)),
        full,
        markup.card("Expected, quantized", _share(found.quantized.iou), _difference(found)),
        markup.card("Choice", *_choice(found)),
    )
    return _grid("".join(made))


def _grid(made: str) -> str:
    return f'<div class="vq-cards vq-two" aria-live="polite">{made}</div>'


def _size(told: Told) -> tuple[str, str]:
    return f"{100 * told.mask.mean():.1f} %", "of the picture"


def _agreement(found: Compared) -> str:
    if found.iou >= SAME_ENOUGH:
        return "IoU of both masks: the same, to the eye"
    return "IoU of both masks: what is in both, as a share of what is in either"


def _difference(found: Compared) -> str:
    moved = found.quantized.iou - found.full.iou
    return f"{markup.signed(100 * moved)} points" if abs(moved) >= 0.0005 else "as in full precision"


def _choice(found: Compared) -> tuple[str, str]:
    count = len(found.full.ious)
    if count == 1:
        return "One mask", "boxes and several clicks leave no choice"
    if found.changed:
        said = (
            f"full precision takes candidate {found.full.chosen + 1}, quantized {found.quantized.chosen + 1}"
        )
        return "Changed", said
    return "The same", f"both take candidate {found.full.chosen + 1} of {count}"


def sides(picture: Image.Image, found: Compared | None) -> str:
    """Both models' masks beside each other."""
    if found is None:
        return ""
    full = _figure("full", picture, found.full, found.full.mask)
    if found.quantized is None:
        blank = f'<figure class="vq-quantized"><div class="vq-blank">{escape(QUANTIZE_FIRST)}</div></figure>'
        return f'<div class="vq-maps vq-pair">{full}{blank}</div>'
    quantized = _figure("quantized", picture, found.quantized, found.quantized.mask)
    return f'<div class="vq-maps vq-pair">{full}{quantized}</div>'


def _figure(model: str, picture: Image.Image, told: Told, mask: ndarray) -> str:
    share, pixels = _size(told)
    caption = f"<b>{NAMES[model]}</b><span>{share} {pixels}; expected IoU {_share(told.iou)}</span>"
    image = f'<img src="{_painted(model, picture, mask)}" alt="Mask: {NAMES[model].lower()}">'
    return f'<figure class="vq-{model}">{image}<figcaption>{caption}</figcaption></figure>'


def candidates(picture: Image.Image, found: Compared | None) -> str:
    """All candidates of both models, a row each; what was chosen is marked."""
    if found is None:
        return markup.note(BEGIN)
    if len(found.full.ious) == 1:
        return markup.note("A box, or several clicks, leave no choice: the model gives one mask.")
    rows = [_row("full", picture, found.full, ())]
    if found.quantized is not None:
        rows.append(_row("quantized", picture, found.quantized, found.ious))
    return "".join(rows)


def _row(model: str, picture: Image.Image, told: Told, ious: tuple[float, ...]) -> str:
    made = "".join(_candidate(model, picture, told, number, ious) for number in range(len(told.ious)))
    return f'<h3 class="vq-row">{NAMES[model]}</h3><div class="vq-maps vq-thirds">{made}</div>'


def _candidate(model: str, picture: Image.Image, told: Told, number: int, ious: tuple[float, ...]) -> str:
    chosen = number == told.chosen
    name = f"Candidate {number + 1}{', chosen' if chosen else ''}"
    agreed = f"; IoU with full precision's {_share(ious[number])}" if ious else ""
    caption = f"<b>{name}</b><span>expected IoU {_share(told.ious[number])}{agreed}</span>"
    shown = _painted(model, picture, told.masks[number])
    kind = "vq-chosen-one" if chosen else ""
    return (
        f'<figure class="{kind}"><img src="{shown}" alt="{name}"><figcaption>{caption}</figcaption></figure>'
    )


def over_each_other(picture: Image.Image, found: Compared | None) -> Any:
    """Both models' masks under one divider, where there are two."""
    if found is None or found.quantized is None:
        return divider.nothing()
    return divider.pair(
        painted("full", picture, found.full.mask), painted("quantized", picture, found.quantized.mask)
    )


def painted(model: str, picture: Image.Image, mask: ndarray) -> Image.Image:
    """A small mask is painted at the small picture's size, so that its outline stays in sight."""
    at_size = np.asarray(Image.fromarray(mask).resize(picture.size, Image.Resampling.NEAREST))
    return colours.painted(picture, colours.layer(at_size, at_size, model))


def _painted(model: str, picture: Image.Image, mask: ndarray) -> str:
    return colours.picture_url(painted(model, picture, mask))


def objects(visit: Visit, answers: Mapping[int, Compared]) -> str:
    """A row for every object, where there are several."""
    if not answers or len(visit.pointed) < 2:
        return ""
    rows = "".join(_object(number, visit.things[number], found) for number, found in answers.items())
    head = "".join(
        f"<th>{name}</th>" for name in ("Object", "Agreement", "Expected, full", "quantized", "Choice")
    )
    return f'<table class="vq-objects"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def _object(number: int, thing: Thing, found: Compared) -> str:
    quantized = found.quantized
    cells = (
        f"{number + 1} ({in_words(thing)})",
        "—" if found.iou is None else _share(found.iou),
        _share(found.full.iou),
        "—" if quantized is None else _share(quantized.iou),
        "—" if quantized is None else _choice(found)[0].lower(),
    )
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def in_words(thing: Thing) -> str:
    """`a box, 2 clicks`."""
    clicks = len(thing.points)
    parts = ["a box"] * (thing.box is not None) + [f"{clicks} click{'s' * (clicks != 1)}"] * bool(clicks)
    return ", ".join(parts) or "nothing yet"


def tried(found: Tried, result_mb: tuple[float, float]) -> str:
    """What quantizing cost on a few scenes: mean IoUs with their objects. `result_mb`: quantized and full
    precision."""
    small, large = result_mb
    full, quantized = found.full, found.quantized
    changed = f"{quantized.changed_choice.mean:.0%} of clicks choose another candidate"
    made = (
        markup.card("Size", f"{small:.1f} MB", f"{large / small:.1f}× smaller than {large:.1f} MB"),
        _asked("From a click", full.click_iou, quantized.click_iou, quantized.click_agreement, changed),
        _asked("From a box", full.box_iou, quantized.box_iou, quantized.box_agreement),
        _asked(
            "From three clicks", full.three_clicks_iou, quantized.three_clicks_iou,
            quantized.three_clicks_agreement,
        ),
    )  # fmt: skip
    return _grid("".join(made))


def _asked(title: str, full: Any, quantized: Any, agreement: Any, more: str = "") -> str:
    """A card; each a Score."""
    said = f"{_share(full.mean)} in full precision; the masks agree to {_share(agreement.mean)}"
    return markup.card(title, _share(quantized.mean), f"{said}; {more}" if more else said)


MEASURES = (
    ("From a click", "click_iou", "click_agreement"),
    ("From a box", "box_iou", "box_agreement"),
    ("From three clicks", "three_clicks_iou", "three_clicks_agreement"),
    ("Best of the three candidates, which needs to know the outline", "best_of_three_iou", None),
    ("How far the expected IoU is off", "belief_error", None),
)


def counted_objects(found: Tried) -> str:
    scores = found.full
    return f"{counted(scores.objects, 'object')} in {counted(scores.pictures, 'picture')}."


def measured(found: Tried) -> str:
    """A table: what was asked, and means with their standard errors."""
    rows = "".join(
        f"<tr><th>{escape(title)}</th><td>{_sure(found.full[name])}</td><td>{_sure(found.quantized[name])}</td>"
        f"<td>{_sure(found.quantized[agreed]) if agreed else '—'}</td></tr>"
        for title, name, agreed in MEASURES
    )
    head = "".join(f"<th>{name}</th>" for name in ("", "Full precision", "Quantized", "Masks agree"))
    changed = f"{found.quantized.changed_choice.mean:.1%} of clicks choose another candidate."
    said = f"Mean IoU with the known outlines, ± one standard error. {changed}"
    table = f'<table class="vq-objects"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    return table + markup.note(" ".join([said, *found.signs]))


def _sure(score: Any) -> str:
    error = "" if score.error is None else f" ± {score.error:.3f}"
    return f"{_share(score.mean)}{error}"


def _share(iou: float) -> str:
    """What a model expects may lie a little outside of what an IoU can be."""
    return f"{min(max(iou, 0.0), 1.0):.3f}"
