"""The copy that is looked into computes what the model computes, and knows its layers."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import vitq_core as vq
from vitq_core.graph.prepared import peeked, subject_of

ATTENTION = ("qkv", "matmul1", "matmul2", "proj")


def test_the_copy_computes_what_the_model_computes(variant: nn.Module, pictures: Callable) -> None:
    images = pictures(variant, 3)
    subject = subject_of(variant, "relevance", images[:1])
    with torch.no_grad():
        torch.testing.assert_close(subject.module(images), variant(images), rtol=1e-5, atol=1e-5)


def test_names_are_in_forward_order_and_maps_are_softmaxes(model: nn.Module) -> None:
    subject = subject_of(model, "relevance", None)
    blocks = [
        [*(f"blocks.{i}.attn.{part}" for part in ATTENTION), f"blocks.{i}.mlp.fc1", f"blocks.{i}.mlp.fc2"]
        for i in range(2)
    ]
    assert subject.names == ["patch_embed.proj", *blocks[0], *blocks[1], "head"]
    assert subject.observed == [*subject.names, "blocks.0.attn.softmax", "blocks.1.attn.softmax"]
    assert subject.input_size == (3, 16, 16) and subject.device == torch.device("cpu")


def test_the_copy_shares_the_weights_and_wants_no_gradient(model: nn.Module) -> None:
    subject = subject_of(model.train(), "relevance", None)
    assert not any(part.training for part in subject.module.modules()) and model.training
    assert not any(parameter.requires_grad for parameter in subject.module.parameters())
    own = {parameter.data_ptr() for parameter in model.parameters()}
    assert {parameter.data_ptr() for parameter in subject.module.parameters()} == own


def test_scales_of_a_layer(model: nn.Module) -> None:
    """A weight has one for each row, an input one for each normalized channel or one at all."""
    subject = subject_of(model, "relevance", None)
    expected = {
        "patch_embed.proj": 16 + 1,
        "blocks.0.attn.qkv": 48 + 16,
        "blocks.0.attn.matmul1": 2,
        "blocks.0.attn.matmul2": 2,
        "blocks.0.attn.proj": 16 + 1,
        "blocks.0.mlp.fc1": 32 + 16,
        "blocks.0.mlp.fc2": 16 + 1,
        "head": 5 + 1,
    }
    assert {name: subject.scales(subject.layers[name]) for name in expected} == expected


def test_float_bytes_are_what_no_layer_quantizes(model: nn.Module) -> None:
    subject = subject_of(model, "relevance", None)
    weights = {f"{name}.weight" for name in subject.names}
    kept = sum(p.numel() for name, p in model.named_parameters() if name not in weights)
    assert subject.float_bytes == 4 * kept > 0


def test_a_model_of_any_size_needs_a_picture(tiny: Callable) -> None:
    model = tiny(dynamic_img_size=True)
    with pytest.raises(ValueError, match="takes pictures of any size: give images"):
        subject_of(model, "relevance", None)
    subject = subject_of(model, "relevance", torch.zeros(1, 3, 24, 32))
    assert subject.input_size == (3, 24, 32) and subject.maps.grid == (3, 4)


@pytest.mark.parametrize(("shape", "sentence"), [((3, 17, 17), "divisible by"), ((1, 16, 16), "3 channels")])
def test_pictures_that_no_size_allows(tiny: Callable, shape: tuple, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"the model cannot take pictures of .*{sentence}"):
        subject_of(tiny(dynamic_img_size=True), "relevance", torch.zeros(1, *shape))


def test_the_taker_is_named(model: nn.Module) -> None:
    with pytest.raises(ValueError, match=r"a dance takes a model of load_model or an nn\.Module, got str"):
        subject_of("model", "a dance", None)


def test_unknown_families_are_told_the_known_ones() -> None:
    with pytest.raises(vq.VitqError, match=r"no model family knows Linear; known: .*vit"):
        subject_of(nn.Linear(3, 2), "relevance", None)


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
    first, rest = peeked(STREAMS[name](stream))
    assert torch.equal(first, stream[:1]) and torch.equal(collected(rest), stream)


@pytest.mark.parametrize("nothing", [torch.zeros(0, 3, 4, 4), [], iter(()), [torch.zeros(0, 3, 4, 4)]])
def test_nothing_to_peek_at(nothing: object) -> None:
    with pytest.raises(ValueError, match="no pictures: give at least one"):
        peeked(nothing)
