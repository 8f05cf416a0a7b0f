"""Spread channels: the function stays, the LayerNorm outputs become as uneven as those of ImageNet models."""

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from vitq_core.common.errors import VitqError
from vitq_core.models.outliers import FACTOR, SIGMA, spread_channels

# Block variants: (constructor arguments)
MODELS = {
    "plain": {},
    "no biases": {"qkv_bias": False, "proj_bias": False},
    "pooled": {"global_pool": "avg", "class_token": False},
    "layer scale": {"init_values": 0.1},
    "query and key norm": {"qk_norm": True},
}


def build(**options) -> VisionTransformer:
    torch.manual_seed(0)
    size = {"img_size": 16, "patch_size": 8, "embed_dim": 64, "depth": 2, "num_heads": 2, "num_classes": 5}
    model = VisionTransformer(**size, **options).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def pictures() -> Tensor:
    return torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def norm_outputs(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Standard deviation per channel of what every block's LayerNorms give."""
    seen: dict[str, Tensor] = {}

    def note(name: str) -> nn.Module:
        return lambda _, __, out: seen.__setitem__(name, out.detach().flatten(0, -2).std(dim=0))

    names = [f"blocks.{block}.norm{norm}" for block in range(2) for norm in (1, 2)]
    hooks = [model.get_submodule(name).register_forward_hook(note(name)) for name in names]
    model(x)
    for hook in hooks:
        hook.remove()
    return seen


@pytest.mark.parametrize("options", MODELS.values(), ids=MODELS)
def test_the_function_is_preserved(options: dict) -> None:
    model, x = build(**options), pictures()
    before = model(x).detach()
    spread_channels(model)
    after = model(x)
    assert not torch.equal(after, before)
    torch.testing.assert_close(after, before, atol=1e-4 * float(before.abs().max()), rtol=0)


def test_the_channels_are_spread_at_every_norm() -> None:
    model, x = build(), pictures()
    before = norm_outputs(model, x)
    spread_channels(model)
    after = norm_outputs(model, x)
    for name in before:
        factor = after[name] / before[name]
        assert factor.log().std() > SIGMA - 0.2
        assert factor.max() / factor.median() > FACTOR / 2
        assert len(factor.round(decimals=2).unique()) > len(factor) / 2
    assert not torch.allclose(after["blocks.0.norm1"], after["blocks.0.norm2"], rtol=0.1)


def test_it_is_harder_to_quantize_by_layer() -> None:
    """What the bundled models with outliers are for: one scale per layer loses the small channels."""
    from vitq_core.quantizers import Uniform

    model, x = build(), pictures()
    outputs: list[Tensor] = []
    for _ in range(2):
        hook = model.blocks[0].norm1.register_forward_hook(lambda _, __, out: outputs.append(out.detach()))
        model(x)
        hook.remove()
        spread_channels(model)

    def noise_per_channel(x: Tensor) -> Tensor:
        error = (Uniform(4).fit(x)(x) - x).flatten(0, -2)
        return error.square().mean(0) / x.flatten(0, -2).square().mean(0)

    plain, uneven = (noise_per_channel(output).mean() for output in outputs)
    assert uneven > 5 * plain


def test_the_seed_decides() -> None:
    weights = []
    for seed in (0, 0, 1):
        model = build()
        torch.manual_seed(seed + len(weights))  # the global generator has no say
        spread_channels(model, seed=seed)
        weights.append(model.blocks[1].norm2.weight.detach().clone())
    assert torch.equal(weights[0], weights[1])
    assert not torch.allclose(weights[0], weights[2])


@pytest.mark.parametrize("shaken", [1 - 3e-6, 1 + 3e-6])
def test_the_last_bits_of_the_processor_change_no_weight(monkeypatch, shaken: float) -> None:
    model, other = build(), build()
    spread_channels(model)
    exactly = torch.exp
    monkeypatch.setattr(torch, "exp", lambda x: exactly(x) * shaken)
    spread_channels(other)
    theirs = other.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in model.state_dict().items())


def test_other_modules_are_refused() -> None:
    with pytest.raises(VitqError, match="no model family knows Linear"):
        spread_channels(nn.Linear(3, 3))
