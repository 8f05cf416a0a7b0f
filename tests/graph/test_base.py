"""Which family a model is of; a wrapper around one is told what to give."""

from collections.abc import Callable

import pytest
from timm.utils import ModelEmaV3
from torch import nn

import vitq_core as vq
from vitq_core.graph import family_of


class Trainer(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.loss, self.model = nn.CrossEntropyLoss(), model


WRAPPERS = {
    "trainer": (Trainer, r"know[s] Trainer, but it holds a VisionTransformer: give its \.model,"),
    "normalized": (lambda m: nn.Sequential(nn.BatchNorm2d(3), m), "give its part '1', and do to pictures"),
    "averaged": (ModelEmaV3, r"give its \.module,"),
    "deep": (lambda m: Trainer(Trainer(m)), r"give its \.model\.model,"),
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_a_wrapper_is_told_what_to_give(model: nn.Module, images, name: str) -> None:
    wrap, sentence = WRAPPERS[name]
    with pytest.raises(vq.VitqError, match=sentence):
        family_of(wrap(model))


def test_every_entry_says_it(model: nn.Module, images) -> None:
    calls: tuple[Callable, ...] = (
        lambda m: vq.quantize(m, images, "minmax"),
        lambda m: vq.relevance(m, images),
        lambda m: vq.importance(m, images),
    )
    for call in calls:
        with pytest.raises(vq.VitqError, match=r"give its \.model,"):
            call(Trainer(model))
