"""A module that is calibrated runs once for each chunk of pictures, and nothing else changes by that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import vitq_core as vq
from vitq_core.common.hooks import hooked
from vitq_core.passes import calibrate
from vitq_core.passes.replay import Replay
from vitq_core.tasks import Task

from ..sam import picture, prompted, tiny_sam


@pytest.fixture(autouse=True)
def chunks_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Task, "chunk", 2)


def numbers(result: vq.QuantizeResult) -> dict[str, Tensor]:
    state = result.model.state_dict()
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def assert_the_same_without(monkeypatch: pytest.MonkeyPatch, quantize: Callable) -> None:
    replayed = numbers(quantize())
    monkeypatch.setattr(Replay, "begin_round", lambda self: None)
    plain = numbers(quantize())
    assert replayed.keys() == plain.keys()
    assert [name for name in plain if not torch.equal(plain[name], replayed[name])] == []


def test_the_same_numbers_of_a_vit(mixture, pictures, calibrating, monkeypatch) -> None:
    images = pictures(mixture)
    assert_the_same_without(monkeypatch, lambda: vq.quantize(mixture, images, calibrating("repq", 4, 4)))


def test_the_same_numbers_where_outputs_judge_ranges(model, images, calibrating, monkeypatch) -> None:
    assert_the_same_without(monkeypatch, lambda: vq.quantize(model, images, calibrating("vitq", 4, 4)))


def test_the_same_numbers_of_segment_anything(calibrating, monkeypatch) -> None:
    batches = [prompted([picture(seed)]) for seed in range(2)]
    assert_the_same_without(
        monkeypatch, lambda: vq.quantize(tiny_sam(), batches, calibrating("ptq4sam", 4, 4))
    )


def test_a_fitted_layer_runs_once_a_chunk(model, images, calibrating, monkeypatch) -> None:
    calls: Counter[nn.Module] = Counter()
    linear, segment = nn.Linear.forward, calibrate._run_segment

    def counted(*args: Any) -> Any:
        with monkeypatch.context() as inside:
            inside.setattr(nn.Linear, "forward", lambda layer, x: calls.update([layer]) or linear(layer, x))
            return segment(*args)

    monkeypatch.setattr(calibrate, "_run_segment", counted)
    result = vq.quantize(model, images, calibrating("minmax"))
    block = result.model.blocks[0]
    layers = block.attn.qkv, block.attn.proj, block.mlp.fc1, block.mlp.fc2
    assert [calls[layer] for layer in layers] == [len(images) / 2] * 4


def test_everything_is_as_before_when_it_ends(model, images, calibrating) -> None:
    result = vq.quantize(model, images, calibrating("minmax"))
    assert not any("_compiled_call_impl" in vars(module) for module in result.model.modules())
    seen: list[nn.Module] = []
    with hooked(*((module, lambda m, *_: seen.append(m)) for module in result.model.modules())):
        result.model(images)
    assert result.model.blocks[0].attn.qkv in seen
