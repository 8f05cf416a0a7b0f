"""Which family a model is of; a wrapper around one is told what to give."""

from collections.abc import Callable

import pytest
import torch
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

import vitq_core as vq
from vitq_core.common.batch import Batch
from vitq_core.graph import FAMILIES, family_of
from vitq_core.tasks import TASKS

from ..conftest import build, random_pictures
from ..sam import records, tiny_sam
from ..swin import variant


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


# A tiny model of every family, and what it is called with.
EXAMPLES = {
    "vit": lambda: (vit := build(depth=2), Batch((random_pictures(vit, 2),))),
    "swin": lambda: (lambda swin, images: (swin, Batch((images,))))(*variant("sides that nothing divides")),
    "sam": lambda: (tiny_sam().requires_grad_(False), TASKS["segmentation"].collate(records(2))),
}


def answers(model: nn.Module, batch: Batch) -> list[Tensor]:
    with torch.no_grad():
        return tree_leaves(batch.through(model))


@pytest.mark.parametrize("name", list(FAMILIES))
def test_what_every_family_owes(name: str) -> None:
    family, (model, batch) = FAMILIES[name], EXAMPLES[name]()
    expected = answers(model, batch)
    assert family.matches(model) and family_of(model) is family and family.name == name
    family.rewrite(model)
    torch.testing.assert_close(answers(model, batch), expected, rtol=1e-5, atol=1e-5)
    names = dict(model.named_modules())
    sites, units = family.sites(model), family.units(model)
    assert sites and {site.module for site in sites} <= names.keys()
    assert all(any(unit.holds(site.module) for unit in units) for site in sites)
    assert {unit.name for unit in units} | set(family.blocks(model)) <= names.keys()
    linears = {linear for pair in family.pairs(model) for linear in pair.linears}
    assert linears <= {site.module for site in sites}
    rebuilt = family.build(family.config(model))
    assert rebuilt.state_dict().keys() == model.state_dict().keys()
