"""The answers behind a block, against a forward in which its output is replaced."""

import pytest
import torch

import vitq_core as vq
from vitq_core.data.store import Scratch
from vitq_core.graph.segments import CALL
from vitq_core.graph.site import Unit
from vitq_core.reconstruction.beyond import beyond_blocks
from vitq_core.tasks import task_of

from ..conftest import Shortcut
from .stored import kept
from .test_sensitivity import answers_of, output_of, random

BLOCKS = ["blocks.0", "blocks.1"]
UNITS = [Unit("patch_embed.proj"), *map(Unit, BLOCKS), Unit("head")]


def float_model(model, images):
    return vq.quantize(model, images, "minmax").model.vitq.fp_model()


def test_the_loss_is_that_of_the_answers(model, images) -> None:
    fp_model = float_model(model, images)
    with Scratch() as scratch:
        found = beyond_blocks(fp_model, UNITS, BLOCKS, kept(images, scratch))
        assert set(found) == set(BLOCKS)
        index = torch.tensor([5, 0, 2])
        for name, beyond in found.items():
            clean = output_of(fp_model, name, images)[index]
            assert float(beyond.loss(clean, index)) == pytest.approx(0.0, abs=1e-9)
            output = (clean + 0.1 * random(clean.shape)).requires_grad_()
            loss = beyond.loss(output, index)
            answers = answers_of(fp_model, name, images[index], output)
            expected = (answers - fp_model(images[index])).square().sum() / len(index)
            torch.testing.assert_close(loss, expected)
            slopes = [torch.autograd.grad(each, output)[0] for each in (loss, expected)]
            torch.testing.assert_close(*slopes)
            zeros = fp_model(images[index]).square().sum() / len(index)
            found_losses = float(expected.detach()), float(zeros.detach())
            assert beyond.losses(output.detach(), index) == pytest.approx(found_losses)


def test_a_model_of_features_is_asked_for_all_its_tokens(tiny, pictures) -> None:
    model = tiny(depth=2, num_classes=0)
    images = pictures(model, 8)
    fp_model = float_model(model, images)
    with Scratch() as scratch:
        beyond = beyond_blocks(fp_model, UNITS[:-1], BLOCKS, kept(images, scratch))["blocks.1"]
        output = output_of(fp_model, "blocks.1", images)
        output[:, 1:] += random(output[:, 1:].shape)
        assert float(beyond.loss(output, torch.arange(8))) > 0.01, "though the class token is as it was"


def test_the_blocks_run_again_afterwards(model, images) -> None:
    fp_model = float_model(model, images)
    with Scratch() as scratch:
        beyond = beyond_blocks(fp_model, UNITS, BLOCKS, kept(images, scratch))["blocks.0"]
        with pytest.raises(RuntimeError):
            beyond.loss(torch.zeros(1, 2, 3), torch.tensor([0]))
    assert not any(CALL in vars(module) for module in fp_model.modules())


def test_models_whose_blocks_are_no_chain_are_refused_before_any_work(tiny, pictures) -> None:
    model = tiny(**{"class": Shortcut}, depth=2)
    images, said = pictures(model, 4), "blocks run one after the other"
    with Scratch() as scratch, pytest.raises(ValueError, match=said):
        beyond_blocks(float_model(model, images), UNITS, BLOCKS, kept(images, scratch))
    heard: list[str] = []
    recipe = vq.recipe("repq", iterations=1, batch_size=4, blocks=True, answers=1.0)
    with pytest.raises(ValueError, match=said):
        vq.quantize(model, images, recipe, progress=lambda _, message: heard.append(message))
    assert not any("alibrat" in message for message in heard)


def test_units_that_are_no_blocks_have_none(model, images) -> None:
    units = [Unit("blocks.0.attn"), Unit("blocks.0.mlp"), Unit("blocks.1")]
    with Scratch() as scratch:
        assert [*beyond_blocks(float_model(model, images), units, BLOCKS, kept(images, scratch))] == [
            "blocks.1"
        ]


def test_a_block_learns_for_the_answers(model, pictures) -> None:
    images = pictures(model, 31)
    settings = {"effort": "quick", "iterations": 30, "batch_size": 8, "autocast": False, "blocks": True}
    recipe = vq.recipe("repq", 3, 3, **settings, kl_lambda=None, answers=10.0)
    result = vq.quantize(model, images, recipe)
    row = next(row for row in result.report.units if row.unit == "blocks.1")
    assert row.outcome == "reconstructed" and row.error_after < row.error_before
    output = output_of(result.model, "blocks.1", images)
    with torch.no_grad():
        expected = model(images)
        answers = answers_of(float_model(model, images), "blocks.1", images, output)
    share = float((answers - expected).square().sum() / expected.square().sum())
    assert row.error_after == pytest.approx(share, rel=1e-3)
    plain = vq.quantize(model, images, vq.recipe("repq", 3, 3, **settings, kl_lambda=None))
    assert task_of(model).name == "classification"
    assert not torch.equal(plain(images), result(images))
