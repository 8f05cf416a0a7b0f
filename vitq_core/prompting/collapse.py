"""Signs that quantizing broke a model without an error: it answers, but always the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from numpy import ndarray
from PIL import Image
from segment_anything.utils.amg import build_point_grid
from torch import Tensor

from ..common.errors import NotFinite
from ..pictures.decoding import plain_picture
from .prompts import Prompt
from .segmenter import OpenPicture, Segmenter, fingerprint

SAME = 1e-4  # of the largest number: embeddings that differ by less are no answer to their pictures
CLICKS = 3  # along a side


def signs_of_collapse(model: object, pictures: Sequence[Image.Image]) -> tuple[str, ...]:
    """A sentence for each; none of a model that still sees. `pictures`: two or more that differ.

    Looked for: numbers that are none, the same embedding of different pictures, masks that are all empty or
    all full. Raises ValueError for fewer than two pictures that differ.
    """
    plain = [plain_picture(picture, "looking for collapse") for picture in pictures]
    different = list({fingerprint(picture): picture for picture in plain}.values())
    if len(different) < 2:
        raise ValueError("two pictures that differ are needed to see whether a model tells them apart")
    segmenter = Segmenter(model)
    try:
        opened = [segmenter.opened(picture) for picture in different]
        masks = _extremes(opened)
    except NotFinite as error:
        return (str(error),)
    return (*_blind([each.embedding for each in opened]), *masks)


def _blind(embeddings: Sequence[Tensor]) -> tuple[str, ...]:
    if all(_differ(*pair) for pair in combinations(embeddings, 2)):
        return ()
    return ("The model sees the same in different pictures: it is quantized too coarsely.",)


def _differ(a: Tensor, b: Tensor) -> bool:
    return bool((a - b).abs().max() > SAME * max(a.abs().max(), b.abs().max()))


def _extremes(opened: Sequence[OpenPicture]) -> tuple[str, ...]:
    shares = [mask.mean() for each in opened for mask in _masks(each)]
    for value, word in ((0, "empty"), (1, "the whole picture")):
        if all(share == value for share in shares):
            return (f"Every mask is {word}, wherever it is clicked: the model is quantized too coarsely.",)
    return ()


def _masks(opened: OpenPicture) -> Iterator[ndarray]:
    height, width = opened.size
    for point in build_point_grid(CLICKS) * [width, height]:
        yield from opened.answer(Prompt((point,), (1,))).masks
