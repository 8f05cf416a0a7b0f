"""Masks for prompts, exactly those of the ``segment-anything`` package's predictor."""

from __future__ import annotations

import copy
import hashlib
import weakref
from collections.abc import Hashable, Sequence

import numpy as np
import torch
from numpy import ndarray
from PIL import Image
from segment_anything import SamPredictor
from segment_anything.modeling import Sam
from torch import Tensor

from ..common.arithmetic import plain_arithmetic
from ..common.checks import check_choice, check_count
from ..common.errors import NotFinite
from ..graph.copies import network_of
from ..pictures.decoding import plain_picture
from .answer import Answer
from .cache import EmbeddingCache
from .prompts import Prompt, check_prompt

COLLAPSED = "the model's {} holds NaN or infinite values, so it has no answer; more bits may help"


def sam_of(model: object, caller: str = "Segmenter") -> Sam:
    """The ``Sam`` in a Model, in a quantized result, or itself; ValueError for everything else."""
    module = network_of(model, caller)
    if not isinstance(module, Sam):
        raise ValueError(f"{caller} takes a Segment Anything, got {type(module).__name__}")
    return module


class Segmenter:
    """Answers prompts with a ``Sam``. It keeps nothing of who asks but embeddings, so everybody may share it.

    ``cache``: shared between segmenters, or its own. ``identity``: what the cache knows the model by; the
    module itself by default, so name another one when its weights change in place.
    """

    def __init__(
        self, model: object, cache: EmbeddingCache | None = None, identity: Hashable | None = None
    ) -> None:
        """``model``: a Sam, or a Model or quantized result of one. Raises ValueError for other models."""
        self.module = sam_of(model)
        self.cache = EmbeddingCache() if cache is None else cache
        # Not id(): that of a module which is gone may be given to another one.
        self.identity = weakref.ref(self.module) if identity is None else identity

    def segment(
        self, picture: Image.Image, prompts: Sequence[Prompt], multimask: bool | None = None
    ) -> list[Answer]:
        """An answer for each prompt, each an object of its own.

        ``picture``: of any mode, turned as its EXIF says. ``multimask``: three candidates instead of one, by
        default for a single click, as the package advises. Every prompt is decoded alone: in a batch, the
        last bits of its numbers change with the prompts beside it. Raises ValueError, one sentence, for
        prompts that mean nothing in the picture and for a picture that is too narrow for the model, NotFinite
        where the model gives NaN.
        """
        if isinstance(prompts, Prompt) or not isinstance(prompts, Sequence) or not prompts:
            raise ValueError(f"prompts must be a list of at least one Prompt, got {prompts!r:.80}")
        rgb = plain_picture(picture, "segmenting")
        for prompt in prompts:  # before the encoder takes its seconds
            check_prompt(prompt, *rgb.size)
        opened = self.opened(rgb)
        return [opened.answer(prompt, multimask) for prompt in prompts]

    @plain_arithmetic
    def opened(self, picture: Image.Image) -> OpenPicture:
        """``picture`` encoded, to be asked about again and again. Raises as :meth:`segment` does."""
        rgb = plain_picture(picture, "segmenting")
        predictor = SamPredictor(self.module)
        predictor.original_size = rgb.height, rgb.width
        predictor.input_size = self._input_size(rgb.height, rgb.width)
        kept = self.cache.get_or_make(self.identity, fingerprint(rgb), lambda: self._encoded(rgb))
        predictor.features = kept.to(predictor.device)
        predictor.is_image_set = True
        return OpenPicture(predictor)

    def _input_size(self, height: int, width: int) -> tuple[int, int]:
        """What the model sees, before padding. ValueError where nothing would be left of a side."""
        side = self.module.image_encoder.img_size
        size = SamPredictor(self.module).transform.get_preprocess_shape(height, width, side)
        if min(size) < 1:
            raise ValueError(
                f"a picture of {width}×{height} pixels is too narrow for this model, which sees its longer "
                f"side at {side} pixels; cut it so that it is at most {2 * side} times as long as wide"
            )
        return size

    def _encoded(self, rgb: Image.Image) -> Tensor:
        predictor = SamPredictor(self.module)
        predictor.set_image(np.asarray(rgb))
        if not torch.isfinite(predictor.features).all():
            raise NotFinite(COLLAPSED.format("embedding of the picture"))
        return predictor.features


class OpenPicture:
    """A picture that a model has looked at. ``size`` (height, width) of the upright original."""

    def __init__(self, predictor: SamPredictor) -> None:
        self.predictor = predictor

    @property
    def size(self) -> tuple[int, int]:
        return self.predictor.original_size

    @property
    def embedding(self) -> Tensor:
        """[1, D, g, g]; others see it too, so it is not to be changed."""
        return self.predictor.features

    def reduced(self, longest: int) -> OpenPicture:
        """The same embedding in a frame whose longer side has at most ``longest`` pixels: prompts and masks
        are in pixels of that. Making masks as large as a photograph takes longer than finding them.
        """
        check_count("longest", longest)
        factor = min(longest / max(self.size), 1)
        predictor = copy.copy(self.predictor)
        predictor.original_size = tuple(max(round(side * factor), 1) for side in self.size)
        return OpenPicture(predictor)

    @plain_arithmetic
    def answer(
        self, prompt: Prompt, multimask: bool | None = None, previous: ndarray | None = None
    ) -> Answer:
        """Of one prompt. ``previous``: low-res logits [1, h, w] of an earlier answer to build on."""
        height, width = self.size
        check_prompt(prompt, width, height)
        check_choice("multimask", multimask, (None, True, False))
        many = prompt.is_single_click if multimask is None else multimask
        answer = Answer(
            *self.predictor.predict(**_arguments(prompt), mask_input=previous, multimask_output=many)
        )
        if not (np.isfinite(answer.ious).all() and np.isfinite(answer.low_res).all()):
            raise NotFinite(COLLAPSED.format("answer"))
        return answer


def fingerprint(picture: Image.Image) -> tuple[int, int, bytes]:
    """The same for the same pixels, and for no others that anybody could find."""
    return (*picture.size, hashlib.sha256(picture.tobytes()).digest())


def _arguments(prompt: Prompt) -> dict[str, ndarray]:
    """Of ``SamPredictor.predict``."""
    given = {}
    if prompt.points:
        given |= {"point_coords": np.array(prompt.points), "point_labels": np.array(prompt.labels)}
    if prompt.box is not None:
        given["box"] = np.array(prompt.box)
    return given
