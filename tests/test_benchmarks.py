"""What the benchmarks rely on and no measurement would tell: the changes that they try on models."""

import torch
from torch import nn

from .benchmarks.relu_ablation import with_relu


def test_mlps_with_relu_learn_what_they_gave_with_gelu(tiny, pictures) -> None:
    model = tiny(depth=2)
    images, before = pictures(model, 64), [parameter.clone() for parameter in model.parameters()]
    learned = with_relu(model, images)
    assert all(isinstance(block.mlp.act, nn.ReLU) for block in learned.blocks)
    with torch.no_grad():
        exchanged = [(block.mlp.act, setattr(block.mlp, "act", nn.ReLU()))[0] for block in model.blocks]
        naive = model(images)
        for block, act in zip(model.blocks, exchanged, strict=True):
            block.mlp.act = act
        wanted = model(images)
        assert (learned(images) - wanted).square().sum() < 0.5 * (naive - wanted).square().sum()
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
