"""The copy that is looked into computes what the model computes, and knows its layers."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

import vitq_core as vq
from vitq_core.common.batch import Batch
from vitq_core.graph.prepared import peeked, prepare

from ..sam import records, tiny_sam

ATTENTION = ("qkv", "matmul1", "matmul2", "proj")


def test_the_copy_computes_what_the_model_computes(mixture: nn.Module, pictures: Callable) -> None:
    images = pictures(mixture, 3)
    prepared = prepare(mixture, "relevance", images[:1])
    with torch.no_grad():
        torch.testing.assert_close(prepared.module(images), mixture(images), rtol=1e-5, atol=1e-5)


def test_names_are_in_forward_order_and_maps_are_softmaxes(model: nn.Module) -> None:
    prepared = prepare(model, "relevance", None)
    blocks = [
        [*(f"blocks.{i}.attn.{part}" for part in ATTENTION), f"blocks.{i}.mlp.fc1", f"blocks.{i}.mlp.fc2"]
        for i in range(2)
    ]
    assert prepared.names == ["patch_embed.proj", *blocks[0], *blocks[1], "head"]
    assert prepared.observed == [*prepared.names, "blocks.0.attn.softmax", "blocks.1.attn.softmax"]
    assert prepared.input_size == (3, 16, 16) and prepared.device == torch.device("cpu")


def test_the_copy_shares_the_weights_and_wants_no_gradient(model: nn.Module) -> None:
    prepared = prepare(model.train(), "relevance", None)
    assert not any(part.training for part in prepared.module.modules()) and model.training
    assert not any(parameter.requires_grad for parameter in prepared.module.parameters())
    own = {parameter.data_ptr() for parameter in model.parameters()}
    assert {parameter.data_ptr() for parameter in prepared.module.parameters()} == own


def test_a_model_of_any_size_needs_a_picture(tiny: Callable) -> None:
    model = tiny(dynamic_img_size=True)
    with pytest.raises(ValueError, match="takes pictures of any size: give images"):
        prepare(model, "relevance", None)
    prepared = prepare(model, "relevance", torch.zeros(1, 3, 24, 32))
    assert prepared.input_size == (3, 24, 32) and prepared.maps.grid == (3, 4)


@pytest.mark.parametrize(("shape", "sentence"), [((3, 17, 17), "divisible by"), ((1, 16, 16), "3 channels")])
def test_pictures_that_no_size_allows(tiny: Callable, shape: tuple, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"the model cannot take pictures of .*{sentence}"):
        prepare(tiny(dynamic_img_size=True), "relevance", torch.zeros(1, *shape))


def test_the_taker_is_named(model: nn.Module) -> None:
    with pytest.raises(ValueError, match=r"a dance takes a model of load_model or an nn\.Module, got str"):
        prepare("model", "a dance", None)


def test_unknown_families_are_told_the_known_ones() -> None:
    with pytest.raises(vq.VitqError, match=r"no model family knows Linear; known: .*vit"):
        prepare(nn.Linear(3, 2), "relevance", None)


# Peeking


@pytest.fixture
def stream() -> Tensor:
    return torch.randn(5, 3, 4, 4)


def collected(batches: Tensor | list) -> Tensor:
    batches = [batches] if isinstance(batches, Tensor) else batches
    return torch.cat([batch[0] if isinstance(batch, (tuple, list)) else batch for batch in batches])


STREAMS = {
    "tensor": lambda x: x,
    "list": lambda x: [x[:2], x[2:]],
    "generator": lambda x: (x[i : i + 1] for i in range(5)),
    "with labels": lambda x: [(x[:2], "labels"), [x[2:], "labels"]],
    "empty at first": lambda x: [x[:0], x],
}


@pytest.mark.parametrize("name", STREAMS)
def test_peeking_keeps_the_stream_whole(stream: Tensor, name: str) -> None:
    first, rest = peeked(STREAMS[name](stream), nn.Identity(), "a dance")
    (picture,) = first.args
    assert torch.equal(picture, stream[:1]) and torch.equal(collected(rest), stream)
    assert first.truth is None and not first.kwargs


@pytest.mark.parametrize("nothing", [torch.zeros(0, 3, 4, 4), [], iter(()), [torch.zeros(0, 3, 4, 4)]])
def test_nothing_to_peek_at(nothing: object) -> None:
    with pytest.raises(ValueError, match="no pictures: give at least one"):
        peeked(nothing, nn.Identity(), "a dance")


def test_peeking_is_for_models() -> None:
    with pytest.raises(ValueError, match=r"a dance takes a model of load_model or an nn\.Module, got str"):
        peeked(torch.zeros(1, 3, 4, 4), "model", "a dance")


# Records


@pytest.fixture(scope="module")
def sam() -> nn.Module:
    return tiny_sam().requires_grad_(False)


RECORDS = records(3)
GIVEN = {
    "list": lambda: RECORDS,
    "lists": lambda: [[], RECORDS[:2], RECORDS[2:]],
    "once": lambda: iter([RECORDS]),
    "tuples": lambda: (tuple(RECORDS) for _ in range(2)),
}


@pytest.mark.parametrize("name", GIVEN)
def test_peeking_at_records_keeps_them(sam: nn.Module, name: str) -> None:
    first, rest = peeked(GIVEN[name](), sam, "a dance")
    ((record,), multimask) = first.args
    assert multimask is True and record.keys() == RECORDS[0].keys()
    assert torch.equal(record["image"], RECORDS[0]["image"])
    flat = [each for item in rest for each in (item if isinstance(item, (list, tuple)) else [item])]
    expected = [
        each for item in GIVEN[name]() for each in (item if isinstance(item, (list, tuple)) else [item])
    ]
    assert all(a is b for a, b in zip(flat, expected, strict=True))


@pytest.mark.parametrize("nothing", [[], iter(()), [[]], [(), []]])
def test_no_records_to_peek_at(sam: nn.Module, nothing: object) -> None:
    with pytest.raises(ValueError, match="no pictures: give at least one"):
        peeked(nothing, sam, "a dance")


@pytest.mark.parametrize("given", [None, "collated"])
def test_the_copy_of_a_segment_anything_computes_what_it_computes(sam: nn.Module, given: str | None) -> None:
    batch = Batch((RECORDS, True))
    prepared = prepare(sam, "allocate_bits", batch if given else None)
    pairs = zip(tree_leaves(batch.through(prepared.module)), tree_leaves(batch.through(sam)), strict=True)
    for actual, expected in pairs:
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)
    assert prepared.input_size == (3, 128, 128) and prepared.task.name == "segmentation"
    assert prepared.maps is None and prepared.observed == prepared.names
    assert {site.module for site in prepared.family.sites(prepared.module)} == set(prepared.names)


def test_records_that_a_model_cannot_take(sam: nn.Module) -> None:
    large = {**RECORDS[0], "image": torch.zeros(3, 129, 16)}
    with pytest.raises(ValueError, match="129×16 pixels, and the model takes 128 at most"):
        prepare(sam, "allocate_bits", None).collate([large])
