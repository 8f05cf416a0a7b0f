"""Tokens and positions as named operations: the same numbers, classes that pickle."""

import pickle
from copy import deepcopy

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from tests.conftest import VARIANTS, build, random_pictures
from vitq_core.graph.vit.embedding import NamedEmbedding, name_embedding


@pytest.mark.parametrize("name", VARIANTS)
def test_it_computes_the_same_bit_for_bit(name: str) -> None:
    model = build(**VARIANTS[name])
    images = random_pictures(model, 2)
    with torch.no_grad():
        expected = model(images)
        kind = type(model)
        name_embedding(model)
        assert isinstance(model, NamedEmbedding) and isinstance(model, kind)
        assert torch.equal(model(images), expected)
        for other in (deepcopy(model), pickle.loads(pickle.dumps(model))):
            assert type(other) is type(model) and torch.equal(other(images), expected)


def test_each_operation_runs_once() -> None:
    model = build()
    name_embedding(model)
    seen = []
    for name in ("embed_cat", "embed_add"):
        model.get_submodule(name).register_forward_hook(lambda *_, name=name: seen.append(name))
    model(random_pictures(model, 2))
    assert seen == ["embed_cat", "embed_add"]


def test_a_second_time_changes_nothing() -> None:
    model = build()
    name_embedding(model)
    kind, operation = type(model), model.embed_cat
    name_embedding(model)
    assert type(model) is kind and model.embed_cat is operation


class Own(VisionTransformer):
    def _pos_embed(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super()._pos_embed(x)


def test_an_embedding_of_its_own_stays_as_it_is() -> None:
    model = build(**{"class": Own})
    name_embedding(model)
    assert type(model) is Own and not hasattr(model, "embed_cat")
