"""The module inside what a caller gives, checked, and a copy of it that can be taken apart."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import vitq_core as vq
from vitq_core.graph.copies import (
    check_finite,
    copied,
    module_of,
    network_of,
    plain,
    private_copy,
    reference_copy,
    untied,
    usable,
)


def test_module_of(model: nn.Module, images: torch.Tensor) -> None:
    assert module_of(model, "relevance") is model
    assert module_of(vq.wrap_model(model), "relevance") is model
    assert module_of(SimpleNamespace(module=None, model=model), "relevance") is model
    result = vq.quantize(model, images, "minmax")
    assert module_of(result, "relevance") is result.model


@pytest.mark.parametrize("thing", ["demo-vit", None, 5, nn.Linear, SimpleNamespace(module="demo-vit"), [1]])
def test_what_holds_no_module(thing: object) -> None:
    name = type(thing).__name__
    with pytest.raises(
        ValueError, match=rf"^evaluate takes a model of load_model or an nn\.Module, got {name}$"
    ):
        module_of(thing, "evaluate")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_broken_weights_are_named(model: nn.Module, value: float) -> None:
    check_finite(model)
    with torch.no_grad():
        model.blocks[1].norm2.bias[3] = value
    with pytest.raises(
        vq.VitqError, match=r"the model's blocks\.1\.norm2\.bias contains NaN or infinite values"
    ):
        check_finite(model)


def test_a_copy_shares_its_weights_and_nothing_else(model: nn.Module) -> None:
    model.train()
    copy = private_copy(model)
    assert not copy.training and model.training
    for (name, own), theirs in zip(model.named_parameters(), copy.parameters(), strict=True):
        assert theirs is not own and theirs.data_ptr() == own.data_ptr(), name
        assert own.requires_grad and not theirs.requires_grad
    copy.blocks[0] = nn.Identity()
    copy.head.register_forward_hook(lambda *_: None)
    assert not isinstance(model.blocks[0], nn.Identity) and not model.head._forward_hooks


@pytest.mark.parametrize("value", [1.0, float("nan")])
def test_weights_made_in_inference_mode_are_checked_too(value: float) -> None:
    with torch.inference_mode():
        model = nn.Linear(2, 2)
        model.bias.fill_(value)
    if value == 1.0:
        check_finite(model)
    else:
        with pytest.raises(vq.VitqError, match="the model's bias contains NaN"):
            check_finite(model)


def test_usable_shares_memory_where_it_can() -> None:
    tensor = torch.ones(2, requires_grad=True) * 1
    assert not usable(tensor).requires_grad and usable(tensor).data_ptr() == tensor.data_ptr()
    with torch.inference_mode():
        made = torch.ones(2)
    taken = usable(made)
    assert not taken.is_inference() and taken.data_ptr() != made.data_ptr() and torch.equal(taken, made)


def test_a_model_made_in_inference_mode_is_copied_into_one_that_can_be_differentiated() -> None:
    with torch.inference_mode():
        model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 3))
        model[2].weight = model[0].weight
    copy = private_copy(model)
    assert not any(tensor.is_inference() for tensor in copy.state_dict().values())
    assert torch.equal(copy[0].weight, model[0].weight) and torch.equal(copy[2].weight, model[0].weight)
    assert not any(parameter.requires_grad for parameter in copy.parameters())
    x = torch.randn(4, 3, requires_grad=True)
    assert torch.autograd.grad(copy(x).sum(), x)[0].shape == (4, 3)


def test_a_tensor_with_its_history_cannot_be_copied() -> None:
    model = nn.Linear(2, 2)
    model.last = model(torch.ones(1, 2))
    for copy in (copied, private_copy):
        with pytest.raises(vq.VitqError, match="it keeps a tensor with its history, such as an output"):
            copy(model)
    model.last = model.last.detach()
    assert torch.equal(private_copy(model).last, model.last)


def test_a_copy_of_another_precision_is_float32_and_leaves_the_model_as_it_is(model: nn.Module) -> None:
    model.half()
    copy = private_copy(model)
    assert {p.dtype for p in copy.parameters()} == {torch.float32}
    assert {p.dtype for p in model.parameters()} == {torch.float16}
    assert torch.equal(copy.head.weight, model.head.weight.float())


def test_buffers_stay_shared_and_tied_weights_come_apart() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 3))
    model[2].weight = model[0].weight
    copy = private_copy(model)
    assert copy[2].weight is not copy[0].weight and model[2].weight is model[0].weight
    assert copy[1].running_mean.data_ptr() == model[1].running_mean.data_ptr()
    copy(torch.randn(4, 3))
    assert (model[1].running_mean == 0).all()


def test_tied_layers_and_parameters_come_apart() -> None:
    shared = nn.Sequential(nn.Linear(3, 3), nn.GELU())
    model = nn.Sequential(shared, nn.Linear(3, 3), shared)
    model[1].weight = shared[0].weight
    x = torch.randn(4, 3)
    with torch.no_grad():
        wanted = model(x)
        untied(model)
        assert torch.equal(model(x), wanted) and model[0] is shared
        parameters = [model[0][0].weight, model[1].weight, model[2][0].weight]
        for changed in parameters:
            kept = [parameter.clone() for parameter in parameters]
            changed.mul_(2)
            differ = [not torch.equal(old, new) for old, new in zip(kept, parameters, strict=True)]
            assert differ == [parameter is changed for parameter in parameters]


def test_computed_weights_become_values_in_the_copy_alone() -> None:
    model = nn.Sequential(parametrizations.weight_norm(nn.Linear(3, 3)), nn.Linear(3, 2)).eval()
    parametrizations.spectral_norm(model[1])
    model.eval()
    x = torch.randn(4, 3)
    with torch.no_grad():
        wanted = model(x)
        copies = [private_copy(model), plain(copied(model))]
        for copy in copies:
            assert torch.equal(copy(x), wanted)
            assert [type(part) for part in copy] == [nn.Linear, nn.Linear]
            assert set(dict(copy.named_parameters())) == {"0.weight", "0.bias", "1.weight", "1.bias"}
            copy[0].weight.zero_()
        assert torch.equal(model(x), wanted)


def test_what_a_quantized_model_computes_its_weights_with_stays(model: nn.Module, images) -> None:
    quantized = vq.quantize(model, images, "minmax").model
    copy = private_copy(quantized)
    assert set(copy.state_dict()) == set(quantized.state_dict())
    with torch.no_grad():
        assert torch.equal(copy(images), quantized(images))


def test_no_hook_comes_along_and_none_is_copied() -> None:
    class Recorder:
        def __init__(self) -> None:
            self.seen = []

        def __call__(self, module: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
            self.seen.append(output)  # with its history, which cannot be copied

    model, recorder = nn.Sequential(nn.Linear(3, 3)), Recorder()
    model[0].register_forward_hook(recorder)
    model[0].register_forward_pre_hook(lambda module, inputs: None)
    model[0].register_full_backward_hook(
        lambda *_: pytest.fail("our own backward passes are no one's business")
    )
    x = torch.randn(2, 3, requires_grad=True)
    model(x)
    torch.autograd.grad(private_copy(model)(x).sum(), x)
    assert len(recorder.seen) == 1 and len(model[0]._forward_hooks) == 1
    reference = reference_copy(model)
    with torch.no_grad():
        reference(x)
    assert len(recorder.seen) == 2, "a copy to compare with has them all"
    handle = reference[0].register_forward_hook(recorder)
    assert len(model[0]._forward_hooks) == 1
    handle.remove()


@pytest.mark.parametrize("name", ["grad_checkpointing", "gradient_checkpointing"])
def test_gradient_checkpointing_is_off_in_a_copy(name: str) -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    setattr(model[0], name, True)
    assert getattr(private_copy(model)[0], name) is False and getattr(model[0], name) is True


def test_wrappers_that_add_nothing_are_taken_off(model: nn.Module) -> None:
    compiled = torch.compile(model, backend="eager")
    for wrapped in (model, nn.DataParallel(model), compiled, nn.DataParallel(compiled), vq.wrap_model(model)):
        assert network_of(wrapped, "relevance") is model
    wrapped = nn.DataParallel(model)
    wrapped.register_forward_hook(lambda _, __, output: output + 1)
    assert network_of(wrapped, "relevance") is wrapped
