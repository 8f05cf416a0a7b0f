"""Attention and blocks of timm's SwinTransformer with every operation a named module.

Each takes over the parameters (the child modules) of the timm module it stands for.
"""

from __future__ import annotations

import torch
from timm.models.swin_transformer import SwinTransformerBlock
from torch import Tensor, nn

from ..ops import Add, AddBias, MatMul, Softmax, add_bias, adopt
from ..rescaling import PADDING, filled_up
from .windows import merged, partitioned, shift_mask


class ExplicitWindowAttention(nn.Module):
    """timm ``WindowAttention``, unfused, with the rolling and the cutting into windows that its block does
    around it: so it takes and gives whole maps, and whatever it is made of knows its picture.

    Queries are multiplied by 1/√d and quantized then. ``pad_first``: whether a map is rolled with what fills
    it up, as the original detection code has it; timm rolls what is there and fills up behind that.
    """

    def __init__(self, block: SwinTransformerBlock, pad_first: bool = False) -> None:
        super().__init__()
        attention = block.attn
        adopt(self, attention)
        self.window_size, self.shift_size = tuple(block.window_size), tuple(block.shift_size)
        self.pad_first = pad_first
        self.num_heads = attention.num_heads
        self.head_dim = attention.qkv.out_features // (3 * attention.num_heads)
        # timm's fused path takes 1/√d whatever ``scale`` says
        self.scale = self.head_dim**-0.5 if attention.fused_attn else attention.scale
        self.relative_position_bias_table = attention.relative_position_bias_table
        index = attention.relative_position_index
        self.register_buffer("relative_position_index", index, persistent=False)
        self.matmul1, self.add_bias = MatMul(), AddBias()
        self.softmax, self.matmul2 = Softmax(), MatMul()

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        """[B, height, width, C] of a map ``x`` [B, H, W, C] of whole windows, of which ``height`` rows and
        ``width`` columns are no filling."""
        batch, rows, columns, _ = x.shape
        windows = partitioned(self._rolled(x, height, width), self.window_size)
        count, tokens = windows.shape[1:3]
        qkv = self.qkv(windows).reshape(batch * count, tokens, 3, self.num_heads, self.head_dim)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        scores = self.matmul1(q * self.scale, k.transpose(-2, -1))
        scores = self._biased(scores.view(batch, count, *scores.shape[1:]), rows, columns)
        attention = self.attn_drop(self.softmax(scores))
        x = self.matmul2(attention.flatten(0, 1), v)
        x = self.proj_drop(self.proj(x.transpose(1, 2).reshape(batch, count, tokens, -1)))
        return self._rolled_back(merged(x, self.window_size, rows, columns), height, width)

    def _biased(self, scores: Tensor, rows: int, columns: int) -> Tensor:
        """``scores`` [B, windows, heads, N, N] of a map of ``rows`` × ``columns``."""
        tokens = scores.shape[-1]
        bias = self.relative_position_bias_table[self.relative_position_index.flatten()]
        scores = self.add_bias(scores, bias.view(tokens, tokens, -1).permute(2, 0, 1))
        if not any(self.shift_size):
            return scores
        return add_bias(scores, shift_mask(rows, columns, self.window_size, self.shift_size, scores))

    def _rolled(self, x: Tensor, height: int, width: int) -> Tensor:
        """Up and to the left by the shift."""
        if not any(self.shift_size):
            return x
        steps = tuple(-step for step in self.shift_size)
        if self.pad_first or x.shape[1:3] == (height, width):
            return x.roll(steps, (1, 2))
        rolled = x[:, :height, :width].roll(steps, (1, 2))
        rolled = torch.cat((rolled, x[:, :height, width:]), 2)
        return torch.cat((rolled, x[:, height:]), 1)

    def _rolled_back(self, x: Tensor, height: int, width: int) -> Tensor:
        """Without what filled it up."""
        if any(self.shift_size) and self.pad_first:
            x = x.roll(self.shift_size, (1, 2))
        x = x[:, :height, :width]
        return x.roll(self.shift_size, (1, 2)) if any(self.shift_size) and not self.pad_first else x


class ExplicitSwinBlock(nn.Module):
    """timm ``SwinTransformerBlock``. Input [B, H, W, C]. What the last windows lack is filled up behind the
    norm with its ``padding`` [C]: zeros, until it is rescaled. It takes part in the attention and is cut off
    again."""

    def __init__(self, block: SwinTransformerBlock, pad_first: bool = False) -> None:
        super().__init__()
        adopt(self, block)
        self.always_partition = block.always_partition
        qkv = block.attn.qkv
        self.norm1.register_buffer(PADDING, qkv.weight.detach().new_zeros(qkv.in_features))
        self.attn = ExplicitWindowAttention(block, pad_first)
        self.add1, self.add2 = Add(), Add()

    def forward(self, x: Tensor) -> Tensor:
        batch, height, width, channels = x.shape
        whole = (
            -(-length // side) * side
            for length, side in zip((height, width), self.attn.window_size, strict=True)
        )
        filled = filled_up(self.norm1(x), *whole, self.norm1.padding)
        x = self.add1(x, self.drop_path1(self.attn(filled, height, width)))
        tokens = x.reshape(batch, -1, channels)
        tokens = self.add2(tokens, self.drop_path2(self.mlp(self.norm2(tokens))))
        return tokens.reshape(batch, height, width, channels)
