"""A picture to point at: clicks and drags by mouse, touch and keyboard, drawn over with masks and prompts.

It is Gradio's own `gr.HTML`. The browser speaks of fractions of the picture, so that nobody has to know how
large it is shown; everything else is in pixels of the original, upright picture.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

Point = tuple[float, float]
Box = tuple[float, float, float, float]

STALE = "The picture has changed meanwhile; click in the new one."
SENSELESS = "This is no click and no box."

TEMPLATE = """
<div class="vq-surface" role="application" tabindex="0" data-key="${value.key}"
  aria-label="${value.label}" style="--w:${value.width};--h:${value.height}">
  <img class="vq-shown" alt="" draggable="false" src="${picture}">
  ${value.marks}<div class="vq-own"></div><span class="vq-spoken" aria-live="polite"></span>
</div>
"""

# The picture is as wide as there is room, and never higher than most of a screen; a line of pixels stays
# thick enough to be hit.
CSS = """
.vq-surface { position: relative; touch-action: none; user-select: none; -webkit-user-select: none;
  cursor: crosshair; border-radius: 6px; aspect-ratio: var(--w) / var(--h); min-width: 28px; min-height: 28px;
  width: min(100%, calc(70vh * var(--w) / var(--h))); margin: 0 auto; }
.vq-surface:focus-visible { outline: 3px solid var(--primary-600); outline-offset: 3px; }
.vq-surface img { position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; pointer-events: none;
  border-radius: 6px; }
.vq-surface i { position: absolute; box-sizing: border-box; pointer-events: none; }
.vq-own { position: absolute; inset: 0; pointer-events: none; }
.vq-box { border: 2px solid #fff; outline: 1.5px solid #111; }
.vq-point { width: 18px; height: 18px; margin: -9px 0 0 -9px; border: 2px solid #fff; border-radius: 50%;
  outline: 1.5px solid #111; background: #111; }
.vq-point::before, .vq-plus::after { content: ''; position: absolute; inset: 6px 3px; background: #fff; }
.vq-plus::after { inset: 3px 6px; }
.vq-minus { border-radius: 3px; }
.vq-faint { opacity: .6; }
.vq-point.vq-faint { scale: .75; }
.vq-wait { opacity: .55; }
.vq-cursor { width: 26px; height: 26px; margin: -13px 0 0 -13px; border: 2px solid #fff;
  outline: 1.5px solid #111; border-radius: 50%; }
.vq-cursor::before { content: ''; position: absolute; inset: 9px; border-radius: 50%; background: #fff;
  box-shadow: 0 0 0 1.5px #111; }
.vq-spoken { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
"""

# `start` and `now`: the ends of a drag; `cursor`: where the keyboard points; `corner`: the first of its box.
SCRIPT = """
const NEAR = 4, STEP = 0.02;
let start = null, now = null, negative = false, cursor = null, corner = null, waiting = '';
const surface = () => element.querySelector('.vq-surface');
const inside = (v) => Math.min(1, Math.max(0, v));
const at = (e) => {
  const r = surface().querySelector('img').getBoundingClientRect();
  return [inside((e.clientX - r.left) / r.width), inside((e.clientY - r.top) / r.height)];
};
const percent = (v) => 100 * v + '%';
const mark = (kind, [x, y]) => `<i class="${kind}" style="left:${percent(x)};top:${percent(y)}"></i>`;
const sides = (a, b) => [Math.min, Math.max].flatMap((f) => [f(a[0], b[0]), f(a[1], b[1])]);
const frame = (a, b) => {
  const [x0, y0, x1, y1] = sides(a, b);
  const place = `left:${percent(x0)};top:${percent(y0)};width:${percent(x1 - x0)};height:${percent(y1 - y0)}`;
  return `<i class="vq-box" style="${place}"></i>`;
};
const draw = () => {
  const dragged = start && now && far() ? frame(start, now) : '';
  const boxed = corner && cursor ? frame(corner, cursor) : '';
  surface().querySelector('.vq-own').innerHTML =
    waiting + dragged + boxed + (cursor ? mark('vq-cursor', cursor) : '');
};
const far = () => {
  const r = surface().getBoundingClientRect();
  return Math.hypot((now[0] - start[0]) * r.width, (now[1] - start[1]) * r.height) >= NEAR;
};
const tell = (data) => trigger('select', {key: surface().dataset.key, ...data});
const point = (place, positive) => {
  waiting = mark(`vq-point vq-wait ${positive ? 'vq-plus' : 'vq-minus'}`, place);
  tell({kind: 'point', place, positive});
};
const box = (a, b) => { waiting = frame(a, b); tell({kind: 'box', place: sides(a, b)}); };
const giveUp = () => { start = now = corner = null; draw(); };
const speak = () => {
  const [x, y] = [cursor[0] * props.value.width, cursor[1] * props.value.height].map(Math.floor);
  surface().querySelector('.vq-spoken').textContent = `column ${x}, row ${y}`;
};

element.addEventListener('pointerdown', (e) => {
  if (!e.target.closest('.vq-surface')) return;
  if (!e.isPrimary || e.button === 1) return giveUp();
  e.preventDefault();
  surface().focus({preventScroll: true, focusVisible: false});
  surface().setPointerCapture(e.pointerId);
  cursor = corner = null;
  start = now = at(e);
  negative = e.shiftKey || e.button === 2;
  draw();
});
element.addEventListener('pointermove', (e) => { if (start && e.isPrimary) { now = at(e); draw(); } });
element.addEventListener('pointercancel', giveUp);
element.addEventListener('pointerup', (e) => {
  if (!start || !e.isPrimary) return;
  now = at(e);
  if (far()) box(start, now); else point(start, !negative);
  giveUp();
});
element.addEventListener('contextmenu', (e) => { if (e.target.closest('.vq-surface')) e.preventDefault(); });
element.addEventListener('focusout', () => { cursor = corner = null; draw(); });

const MOVES = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
const move = ([dx, dy], fine) => {
  const {width, height} = props.value;
  const step = (size) => fine ? Math.max(1 / size, STEP / 10) : Math.max(1 / size, STEP);
  const from = cursor || [0.5, 0.5];
  cursor = cursor ? [inside(from[0] + dx * step(width)), inside(from[1] + dy * step(height))] : from;
  speak();
};
const corners = () => {
  if (!cursor) cursor = [0.5, 0.5];
  if (corner) { box(corner, cursor); corner = null; } else corner = [...cursor];
};
const pressed = (e) => {
  const key = e.key.length === 1 ? e.key.toLowerCase() : e.key;
  if (e.key in MOVES) return move(MOVES[e.key], e.shiftKey), true;
  if (key === 'z' && (e.ctrlKey || e.metaKey)) return trigger('undo'), true;
  if (e.ctrlKey || e.metaKey || e.altKey) return false;
  if (key === 'Escape') return (start || corner ? giveUp() : cursor = null), true;
  if (key === 'b') return corners(), true;
  if ((key === 'Enter' || key === ' ') && corner) return corners(), true;
  if (key === 'Enter' || key === ' ') return cursor ? point(cursor, !e.shiftKey) : move([0, 0]), true;
  return false;
};
element.addEventListener('keydown', (e) => { if (pressed(e)) { e.preventDefault(); draw(); } });
watch(['value', 'picture'], () => { waiting = ''; draw(); });
"""


@dataclass(frozen=True)
class Click:
    """At (x, y); `positive`: on the object, otherwise beside it."""

    place: Point
    positive: bool


@dataclass(frozen=True)
class Drag:
    """From corner to corner: (x0, y0, x1, y1)."""

    box: Box


def prompt_canvas(elem_id: str) -> gr.HTML:
    """Its events are `select` (see `gesture`) and `undo`; `picture` is a URL, its value a `canvas_value`."""
    return gr.HTML(
        value=canvas_value("", "", (1, 1), ""), picture="", html_template=TEMPLATE, css_template=CSS,
        js_on_load=SCRIPT, apply_default_css=False, elem_id=elem_id, elem_classes="vq-canvas",
    )  # fmt: skip


def canvas_value(key: str, label: str, size: tuple[int, int], marks: str) -> dict[str, Any]:
    """What is drawn over a picture of `size` (width, height), which `key` names and `label` describes."""
    return {"key": escape(key), "label": escape(label), "width": size[0], "height": size[1], "marks": marks}


def gesture(data: Any, key: str, size: tuple[int, int]) -> Click | Drag:
    """What a `select` event says, in pixels. Raises ValueError for what no canvas of this picture sends."""
    if not isinstance(data, dict):
        raise ValueError(SENSELESS)
    if data.get("key") != key:
        raise ValueError(STALE)
    if data.get("kind") == "point" and isinstance(data.get("positive"), bool):
        ((x, y),) = _pixels(data.get("place"), 2, size)
        return Click((min(x, _last(size[0])), min(y, _last(size[1]))), data["positive"])
    if data.get("kind") == "box":
        return Drag(tuple(v for place in _pixels(data.get("place"), 4, size) for v in place))
    raise ValueError(SENSELESS)


def _pixels(fractions: Any, count: int, size: tuple[int, int]) -> list[Point]:
    if not isinstance(fractions, list) or len(fractions) != count or not all(map(_is_fraction, fractions)):
        raise ValueError(SENSELESS)
    pairs = zip(fractions[::2], fractions[1::2], strict=True)
    return [(x * size[0], y * size[1]) for x, y in pairs]


def _last(side: int) -> float:
    """A click on the very edge is still inside: in the last pixel."""
    return side * (1 - 1e-9)


def _is_fraction(value: Any) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and 0 <= value <= 1


def mask_mark(url: str, kind: str = "") -> str:
    """A transparent picture over the whole of it."""
    return f'<img class="vq-mask {escape(kind)}" alt="" draggable="false" src="{escape(url)}">'


def point_mark(place: Point, positive: bool, size: tuple[int, int], faint: bool = False) -> str:
    kind = f"vq-point {'vq-plus' if positive else 'vq-minus'}{' vq-faint' if faint else ''}"
    return f'<i class="{kind}" style="left:{_share(place[0], size[0])};top:{_share(place[1], size[1])}"></i>'


def box_mark(box: Box, size: tuple[int, int], faint: bool = False) -> str:
    (left, width), (top, height) = (
        (_share(box[i], size[i]), _share(box[i + 2] - box[i], size[i])) for i in (0, 1)
    )
    kind = "vq-box vq-faint" if faint else "vq-box"
    return f'<i class="{kind}" style="left:{left};top:{top};width:{width};height:{height}"></i>'


def _share(value: float, whole: int) -> str:
    return f"{100 * value / whole:.3f}%"


def joined(marks: Iterable[str]) -> str:
    return "".join(marks)
