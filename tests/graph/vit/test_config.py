"""A saved model is rebuilt from its constructor's arguments, or its saving is refused with a sentence."""

import json

import pytest
import torch
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from vitq_core.common.errors import VitqError
from vitq_core.graph import FAMILIES, family_of
from vitq_core.graph.vit.config import construct, describe, resolve

UNBUILDABLE = ("gated",)  # timm has no constructor argument for it


def test_every_kind_is_rebuilt_or_refused(variant: VisionTransformer, pictures, request) -> None:
    kind = request.node.callspec.params["variant"]
    if kind in UNBUILDABLE:
        with pytest.raises(VitqError, match="altered"):
            describe(variant)
        return
    config = json.loads(json.dumps(describe(variant)))
    built = FAMILIES["vit"].build(config)
    built.load_state_dict(variant.state_dict())
    x = pictures(variant)
    family_of(variant).rewrite(variant)
    with torch.no_grad():
        assert torch.equal(built(x), variant(x))
    assert not built.training
    assert describe(built) == config


def alter_width(model: nn.Module) -> None:
    model.blocks[1].mlp.fc1 = nn.Linear(16, 20)
    model.blocks[1].mlp.fc2 = nn.Linear(20, 16)


def drop_bias(model: nn.Module) -> None:
    model.head.bias = None


def add_parameter(model: nn.Module) -> None:
    model.temperature = nn.Parameter(torch.ones(()))


@pytest.mark.parametrize("alter", [alter_width, drop_bias, add_parameter])
def test_altered_models_are_refused(model: VisionTransformer, alter) -> None:
    alter(model)
    with pytest.raises(VitqError, match=r"altered after it was built .* cannot be saved"):
        describe(model)


@pytest.mark.parametrize("name", ["Popen", "VisionTransformer", "Module.forward", "__class__", ""])
def test_only_classes_of_the_right_kind_are_named(name: str) -> None:
    with pytest.raises(VitqError, match="no LayerNorm class"):
        resolve(name, nn.LayerNorm)


def test_an_unknown_architecture_is_refused(model: VisionTransformer) -> None:
    with pytest.raises(VitqError, match="no VisionTransformer class 'Evil'"):
        construct({**describe(model), "class": "Evil"})


def test_a_subclass_is_rebuilt_as_the_class_of_timm_that_it_is(tiny, pictures) -> None:
    class VisionTransformerOfMine(VisionTransformerDistilled):
        pass

    for kind, name in (
        (VisionTransformerOfMine, "VisionTransformerDistilled"),
        (Namesake, "VisionTransformer"),
    ):
        config = describe(tiny(**{"class": kind}))
        assert config["class"] == name


Namesake = type(
    "VisionTransformer", (VisionTransformer,), {}
)  # of the same name as timm's, as some papers do
