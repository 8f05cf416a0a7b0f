"""Hooks hang inside the context, in the order asked for, and are gone after it however it ends."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from vitq_core.common.hooks import hooked


@pytest.fixture
def module() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 3), nn.ReLU())


def hanging(module: nn.Module) -> int:
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules())


def test_they_see_inputs_and_outputs_inside_and_nothing_after(module) -> None:
    seen: list = []
    x = torch.ones(1, 2)
    linear, relu = module
    with hooked((linear, lambda *call: seen.append(call)), before=[(relu, lambda *call: seen.append(call))]):
        module(x)
    module(x)
    (first, inputs, output), (second, (entering,)) = seen
    assert first is linear and inputs[0] is x
    assert second is relu and entering is output


def test_those_before_see_the_inputs_as_the_caller_gave_them(module) -> None:
    module[1].register_forward_pre_hook(lambda _, inputs: (2 * inputs[0],))
    seen: list = []
    with hooked(before=[(module[1], lambda _, inputs: seen.append(inputs[0]))]):
        module(torch.ones(1, 2))
    assert torch.equal(seen[0], module[0](torch.ones(1, 2)))


def test_what_a_hook_returns_replaces_the_output(module) -> None:
    with hooked((module, lambda *call: call[-1] + 1)):
        changed = module(torch.ones(1, 2))
    assert torch.equal(changed, module(torch.ones(1, 2)) + 1)


def test_arguments_by_name_are_shown_where_asked_for() -> None:
    attention, seen = nn.MultiheadAttention(4, 2), []
    x = torch.ones(1, 1, 4)
    with hooked(before=[(attention, lambda *call: seen.append(call[2]))], with_kwargs=True):
        attention(x, x, value=x)
    assert list(seen[0]) == ["value"]


@pytest.mark.parametrize("error", [None, KeyError])
def test_all_go_however_it_ends_and_only_they(module, error: type | None) -> None:
    module[0].register_forward_hook(lambda *_: None)

    def use() -> None:
        with hooked((module, print), (module[0], print), before=[(module[1], print)]):
            assert hanging(module) == 4
            if error:
                raise error

    if error:
        with pytest.raises(error):
            use()
    else:
        use()
    assert hanging(module) == 1


def refuse(*_: object, **__: object) -> None:
    raise RuntimeError("no hooks here")


@pytest.mark.parametrize("method", ["register_forward_hook", "register_forward_pre_hook"])
def test_those_that_hang_already_go_when_one_cannot_hang(module, monkeypatch, method: str) -> None:
    monkeypatch.setattr(module[1], method, refuse)
    with pytest.raises(RuntimeError, match="no hooks"), both(module, print):
        raise AssertionError("must not be reached")
    assert hanging(module) == 0


def both(module: nn.Sequential, hook: Callable):
    each = [(part, hook) for part in module]
    return hooked(*each, before=each)
