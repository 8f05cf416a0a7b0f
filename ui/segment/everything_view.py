"""What segmenting everything found, as pictures and numbers."""

from __future__ import annotations

import numpy as np
from numpy import ndarray
from PIL import Image

from vitq_core.experiment import counted

from ..parts import markup
from .colours import STRIPE, edge, picture_url
from .everything import ALONE, Found, Segments
from .view import NAMES

# Okabe and Ito's, without black; numbers tell objects of one colour apart.
HUES = np.array(
    [[230, 159, 0], [86, 180, 233], [0, 158, 115], [240, 228, 66], [0, 114, 178], [213, 94, 0],
     [204, 121, 167]],
    np.float32,
)  # fmt: skip
OPACITY = 0.6
NUMBERED = 0.004  # share of the picture from which an object gets its number
NOTHING = "Nothing was found; lower the limits, or take more clicks."


def cards(found: Found) -> str:
    made = [markup.card("Full precision", str(found.full.count), "objects found")]
    if found.quantized is not None:
        both = len(found.ious)
        made += [
            markup.card("Quantized", str(found.quantized.count), "objects found"),
            markup.card("In both", str(both), _likeness(found)),
            markup.card("In one only", _alone(found), "objects in full precision / quantized only"),
        ]
    return f'<div class="vq-cards vq-four" aria-live="polite">{"".join(made)}</div>'


def _likeness(found: Found) -> str:
    if not found.ious:
        return "no object of the one overlaps one of the other by half"
    return f"their masks agree with a mean IoU of {np.mean(found.ious):.3f}"


def _alone(found: Found) -> str:
    both = len(found.ious)
    return f"{found.full.count - both} / {found.quantized.count - both}"


def figures(picture: Image.Image, found: Found) -> str:
    """Both models' objects: the same colour and number in both pictures, stripes where the other has none."""
    models = [("full", found.full), *([("quantized", found.quantized)] if found.quantized else [])]
    made = "".join(_figure(name, picture, segments) for name, segments in models)
    return f'<div class="vq-maps vq-pair">{made}</div>'


def _figure(model: str, picture: Image.Image, segments: Segments) -> str:
    url = picture_url(painted(picture, segments))
    count = counted(segments.count, "object")
    image = f'<img src="{url}" alt="{count}: {NAMES[model].lower()}">'
    caption = f"<b>{NAMES[model]}</b><span>{count}</span>"
    return (
        f'<figure class="vq-{model}"><div class="vq-over">{image}{_numbers(segments)}</div>'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def painted(picture: Image.Image, segments: Segments) -> Image.Image:
    """The objects over the picture in grey, at its size."""
    grey = np.asarray(picture.convert("L"), np.float32)[..., None] * 0.8
    labels = _as_large(segments.labels, picture.size)
    numbers = np.array([ALONE, *segments.numbers])[labels]
    colours = HUES[np.where(numbers == ALONE, labels, numbers) % len(HUES)]
    strength = np.where(labels > 0, OPACITY, 0.0)
    strength = np.where((numbers == ALONE) & _stripes(labels.shape), strength / 4, strength)[..., None]
    pixels = grey * (1 - strength) + colours * strength
    pixels[_borders(labels)] = 255
    return Image.fromarray(pixels.astype(np.uint8))


def _as_large(labels: ndarray, size: tuple[int, int]) -> ndarray:
    return np.asarray(Image.fromarray(labels).resize(size, Image.Resampling.NEAREST))


def _stripes(shape: tuple[int, ...]) -> ndarray:
    rows, columns = np.indices(shape, sparse=True)
    return (rows + columns) // STRIPE % 2 == 0


def _borders(labels: ndarray) -> ndarray:
    """Where an object ends."""
    found = np.zeros(labels.shape, bool)
    for label in np.unique(labels[labels > 0]):
        found |= edge(labels == label)
    return found


def _numbers(segments: Segments) -> str:
    """Those of objects that are large enough and found by both."""
    made = []
    for index, number in enumerate(segments.numbers):
        mask = segments.labels == index + 1
        if number == ALONE or mask.mean() < NUMBERED:
            continue
        rows, columns = np.nonzero(mask)
        left, top = 100 * columns.mean() / mask.shape[1], 100 * rows.mean() / mask.shape[0]
        made.append(f'<b class="vq-number" style="left:{left:.1f}%;top:{top:.1f}%">{number + 1}</b>')
    return "".join(made)
