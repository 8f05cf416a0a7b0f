"""Blocks that join a vision transformer late, so that most of its training costs little."""

import torch
from torch import Tensor, nn


class GrowingBlocks(nn.Sequential):
    """Blocks of which every `stride`-th runs; the others start as identity, so joining changes nothing."""

    def __init__(self, blocks: nn.Sequential, stride: int):
        super().__init__(*blocks)
        self.stride = stride
        for i, block in enumerate(self):
            if i % stride:
                _make_identity(block)

    def forward(self, x: Tensor) -> Tensor:
        for block in list(self)[:: self.stride]:
            x = block(x)
        return x


@torch.no_grad()
def _make_identity(block: nn.Module) -> None:
    """Both residual branches end in zero, from which they can still learn."""
    for last in (block.attn.proj, block.mlp.fc2):
        last.weight.zero_()
        last.bias.zero_()
