"""Why a model answers what it answers for one picture, and how alike two models' reasons are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

import vitq_core as vq
from vitq_core.experiment import overlay
from vitq_core.experiment.measure import name_of, top

from ..parts import divider
from ..parts.settings import RunSettings

MAPS = ("patches", "pixels")
GONE = "The quantized model is no longer in memory; quantize again."


@dataclass(frozen=True)
class Question:
    """Which picture is explained, and how. `quantized`: whose model beside the full-precision one, if any.

    `picture`: ("sample", settings of the run or the page, place in its gallery), ("held-out", settings of
    the run, place among all that judged it) or ("file", path); it only has to tell pictures apart. `target`:
    a class, or None for what each model predicts.
    """

    model: str
    picture: tuple
    name: str = ""
    truth: str | None = None
    target: int | None = None
    quantized: RunSettings | None = None

    def about(self, target: int | None) -> Question:
        """The same picture, with another class."""
        return replace(self, target=target)


@dataclass(frozen=True, eq=False)
class View:
    """One model's answer and reasons: `patches` [h, w], at least 0; `pixels` [H, W], of both signs.

    Attention within windows makes no map of patches (None).
    A model without classes gives no answer: its reasons are those of the size of its features.
    """

    answer: tuple[str, float] | None
    target: tuple[str, float] | None
    patches: Tensor | None
    pixels: Tensor

    def map(self, kind: str) -> Tensor | None:
        return getattr(self, kind)


@dataclass(frozen=True, eq=False)
class Explained:
    """`picture` [3, H, W] from 0 to 1: what the models saw. `quantized`: None where nothing is quantized.

    `unlike`: whether the picture is unlike those of the run, None where that is not told.
    """

    picture: Tensor
    full: View
    quantized: View | None = None
    unlike: bool | None = None

    @property
    def tensors(self) -> list[Tensor]:
        """All that it holds."""
        views = [self.full] if self.quantized is None else [self.full, self.quantized]
        maps = [view.map(kind) for view in views for kind in MAPS]
        return [self.picture, *(each for each in maps if each is not None)]

    def drawn(self, kind: str) -> str:
        """The kind of map that is shown where this one is asked for."""
        return next(each for each in (kind, *MAPS) if self.full.map(each) is not None)

    def similarity(self, kind: str) -> float | None:
        """Pearson's correlation of the two maps; None without a second one, or where one is flat."""
        if self.quantized is None:
            return None
        pair = torch.stack([view.map(kind).flatten().double() for view in (self.full, self.quantized)])
        return float(torch.corrcoef(pair)[0, 1]) if float(pair.std(1).min()) > 0 else None


def over_each_other(explained: Explained, kind: str) -> Any:
    """Both models' maps under one divider, where there are two."""
    if explained.quantized is None:
        return divider.nothing()
    views = (explained.full, explained.quantized)
    return divider.pair(*(overlay.overlay(explained.picture, view.map(kind), kind) for view in views))


def view(model: Any, module: Any, image: Tensor, target: int | None, labels: Sequence[str] | None) -> View:
    """What `model` (of `load_model` or `quantize`, with its `module`) says about `image` [1, 3, H, W]."""
    found = vq.relevance(model, image, targets=target)
    answers = (None, None)
    if found.targets is not None:
        with torch.inference_mode():
            logits = module(image)[0].float()
        chosen = int(found.targets[0])
        answers = top(logits, labels, 1)[0], (name_of(chosen, labels), float(logits.softmax(-1)[chosen]))
    patches = None if found.heatmaps is None else found.heatmaps[0]
    return View(*answers, patches, found.pixel_maps[0])
