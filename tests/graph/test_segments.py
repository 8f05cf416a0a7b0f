"""Segments one after the other compute what the whole model computes."""

from typing import Any

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch.utils._pytree import tree_leaves

import vitq_core as vq
from vitq_core.common.batch import Batch
from vitq_core.graph import family_of
from vitq_core.graph.segments import Segment, segments
from vitq_core.tasks import TASKS

from ..conftest import Interleaved, Shortcut
from ..sam import records, tiny_sam


def run(found: list[Segment], model: torch.nn.Module, pictures: torch.Tensor | Batch) -> Any:
    batch, stream = pictures if isinstance(pictures, Batch) else Batch((pictures,)), None
    with torch.no_grad():
        for segment in found:
            stream = segment.run(model, batch, stream)
    return stream


def test_pieces_make_the_whole(mixture: VisionTransformer, pictures) -> None:
    family, x = family_of(mixture), pictures(mixture)
    family.rewrite(mixture)
    blocks = family.blocks(mixture)
    found = segments(mixture, blocks, Batch((x[:1],)))
    assert len(found) == len(blocks) + 2 and [segment.last for segment in found].count(True) == 1
    with torch.no_grad():
        assert torch.equal(run(found, mixture, x), mixture(x))
        assert torch.equal(mixture(x), mixture(x)), "they leave the model as it was"
    assert not any("forward" in vars(module) for module in mixture.modules())


def test_the_model_is_whole_again_after_an_error(model: VisionTransformer, images) -> None:
    blocks = [f"blocks.{index}" for index in range(len(model.blocks))]
    first, *_, last = segments(model, blocks, Batch((images[:1],)))
    hooks = [len(module._forward_pre_hooks) for module in model.modules()]
    with pytest.raises(RuntimeError):
        first.run(model, Batch((images[:, :1],)), None)
    with pytest.raises(RuntimeError):
        last.run(model, Batch((images,)), torch.zeros(1, 2, 3))
    assert hooks == [len(module._forward_pre_hooks) for module in model.modules()]
    assert not any("forward" in vars(module) for module in model.modules())


def test_a_model_that_stops_running_its_blocks_is_noticed(model: VisionTransformer, images) -> None:
    first = segments(model, [f"blocks.{index}" for index in range(len(model.blocks))], Batch((images[:1],)))[
        0
    ]
    with pytest.raises(RuntimeError, match="does not run the blocks"):
        first.run(Unrun(model), Batch((images,)), None)


class Unrun(torch.nn.Module):
    """Has blocks and does not run them."""

    def __init__(self, model: VisionTransformer) -> None:
        super().__init__()
        self.blocks = model.blocks

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images


SIZE = {"img_size": 16, "patch_size": 8, "embed_dim": 24, "num_heads": 3, "num_classes": 4}


@pytest.mark.parametrize(("kind", "pieces"), [(VisionTransformer, 5), (Interleaved, 5), (Shortcut, 1)])
def test_a_forward_between_the_blocks_is_noticed_and_still_calibrated_on_all_pictures(
    kind: type, pieces: int
) -> None:
    torch.manual_seed(0)
    model, images = kind(depth=3, **SIZE).eval(), torch.randn(40, 3, 16, 16)
    blocks = [f"blocks.{index}" for index in range(3)]
    found = segments(model, blocks, Batch((images[:1],)))
    assert len(found) == pieces
    assert len(segments(model, [], Batch((images[:1],)))) == 1
    with torch.no_grad():
        torch.testing.assert_close(run(found, model, images), model(images), rtol=1e-5, atol=1e-6)
    assert not any("forward" in vars(module) for module in model.modules())
    result = vq.quantize(model, images, vq.recipe("repq", weight_bits=8, act_bits=8))
    with torch.no_grad():
        assert (result.model(images) - model(images)).abs().max() < 0.1 * model(images).abs().max()


class Masked(VisionTransformer):
    """Gives every block a mask of its own making, or tells it to look back alone."""

    how: dict = {}

    def forward_features(self, x, attn_mask=None, is_causal=False):
        x = self._pos_embed(self.patch_embed(x))
        for block in self.blocks:
            x = block(x, **self.how)
        return self.norm(x)


@pytest.mark.parametrize("depth", [1, 2])
def test_what_else_a_block_is_given_is_not_lost(depth: int) -> None:
    torch.manual_seed(0)
    model, images = Masked(depth=depth, **SIZE).eval(), torch.randn(3, 3, 16, 16)
    family_of(model).rewrite(model)
    for how, pieces in (({"is_causal": True}, depth + 2), ({"attn_mask": torch.eye(5).bool()}, 1)):
        model.how = how
        found = segments(model, [f"blocks.{index}" for index in range(depth)], Batch((images[:1],)))
        assert len(found) == pieces
        with torch.no_grad():
            assert torch.equal(run(found, model, images), model(images))


# Blocks of two streams, of two kinds, with a neck between them


class TwoStreams(torch.nn.Module):
    """As a mask decoder's layer: each stream reads the other; what never changes comes behind them."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)

    def forward(self, tokens, picture, place):
        tokens = tokens + self.one(picture + place).mean(1, keepdim=True)
        return tokens, picture + self.other(tokens)


class Streams(torch.nn.Module):
    """Single blocks, a neck, blocks of two streams with something between them, and both streams answer."""

    def __init__(self, between: bool = True) -> None:
        super().__init__()
        self.encoder = torch.nn.ModuleList(torch.nn.Linear(4, 4) for _ in range(2))
        self.neck, self.between = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4) if between else None
        self.decoder = torch.nn.ModuleList(TwoStreams() for _ in range(3))
        self.blocks = [
            f"{part}.{i}" for part, count in (("encoder", 2), ("decoder", 3)) for i in range(count)
        ]

    def forward(self, pictures):
        x = pictures
        for block in self.encoder:
            x = block(x)
        x = self.neck(x).relu()
        tokens, place = x.mean(1, keepdim=True), pictures.cos()
        for layer in self.decoder:
            tokens, x = layer(tokens, x, place)
            tokens = tokens if self.between is None else self.between(tokens)
        return {"tokens": tokens, "picture": x}


@pytest.mark.parametrize("between", [True, False])
def test_blocks_of_two_streams_with_something_between_them(between: bool) -> None:
    torch.manual_seed(0)
    model, other = Streams(between), Streams(between)
    pictures = torch.randn(3, 5, 4)
    found = segments(model, model.blocks, Batch((pictures[:1],)))
    assert len(found) == len(model.blocks) + 2 and [segment.last for segment in found].count(True) == 1
    for each in (model, other):  # another of the same names, as the quantized one
        for answer, expected in zip(
            *map(tree_leaves, (run(found, each, pictures), each(pictures))), strict=True
        ):
            torch.testing.assert_close(answer, expected)
    assert not any("forward" in vars(module) for module in model.modules())


def test_a_stream_is_what_the_next_block_is_called_with() -> None:
    torch.manual_seed(0)
    model, batch = Streams(), Batch((torch.randn(2, 5, 4),))
    given: dict[str, tuple] = {}
    for name in model.blocks:
        model.get_submodule(name).register_forward_pre_hook(
            lambda _, args, kwargs, name=name: given.__setitem__(name, (args, kwargs)), with_kwargs=True
        )
    stream, found = None, segments(model, model.blocks, batch[:1])
    with torch.no_grad():
        model(*batch.args)
        expected = dict(given)
        for name, segment in zip(model.blocks, found, strict=False):
            stream = segment.run(model, batch, stream)
            args, kwargs = stream
            assert len(args) == len(expected[name][0]) and kwargs == expected[name][1]
            for actual, wanted in zip(args, expected[name][0], strict=True):
                torch.testing.assert_close(actual, wanted)


def test_each_segment_runs_its_own_block_alone() -> None:
    """What is before a block is not computed again by the blocks: they are stood in for."""
    model, batch = Streams(), Batch((torch.randn(2, 5, 4),))
    found, ran, stream = segments(model, model.blocks, batch[:1]), [], None
    for name in model.blocks:

        def note(part: torch.nn.Module, inputs: tuple, output: Any, name: str = name) -> None:
            if "forward" not in vars(part):
                ran.append(name)

        model.get_submodule(name).register_forward_hook(note)
    expected = [[], *([name] for name in model.blocks), []]
    with torch.no_grad():
        for segment, names in zip(found, expected, strict=True):
            stream = segment.run(model, batch, stream)
            assert ran == names
            ran.clear()


@pytest.mark.parametrize("number", range(3))
def test_a_segment_anything_is_cut_between_all_its_blocks(number: int) -> None:
    sam = tiny_sam().requires_grad_(False)
    family, every = family_of(sam), TASKS["segmentation"].collate(records(3))
    family.rewrite(sam)
    blocks = family.blocks(sam)
    found = segments(sam, blocks, every[number : number + 1])
    assert len(found) == len(blocks) + 2
    for batch in every.split(1):  # others ask otherwise
        with torch.no_grad():
            expected = batch.through(sam)
        for actual, wanted in zip(*map(tree_leaves, (run(found, sam, batch), expected)), strict=True):
            torch.testing.assert_close(actual, wanted, rtol=1e-4, atol=1e-4)
