"""Attention and blocks of timm's VisionTransformer with every operation a named module.

Each takes over the parameters (the child modules) of the timm module it stands for.
"""

from __future__ import annotations

import torch
from timm.layers import Attention
from timm.models.vision_transformer import Block, ParallelScalingBlock, ParallelThingsBlock, ResPostBlock
from torch import Tensor, nn

from ...common.errors import VitqError
from ..ops import Add, MatMul, Softmax, add_layer_bias, adopt


class ExplicitAttention(nn.Module):
    """timm ``Attention``, unfused. Input [B, N, C]; query and key are quantized before the scores' 1/√d."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        adopt(self, attention)
        self.gate = getattr(attention, "gate", None)  # timm keeps None where there is none
        self.num_heads, self.head_dim = attention.num_heads, attention.head_dim
        # timm's fused path takes 1/√d whatever ``scale`` says
        self.scale = attention.head_dim**-0.5 if attention.fused_attn else attention.scale
        self.matmul1, self.softmax, self.matmul2 = MatMul(), Softmax(), MatMul()

    def forward(self, x: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False) -> Tensor:
        batch, tokens, _ = x.shape
        gate = None if self.gate is None else self.gate(x).sigmoid()
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.num_heads, self.head_dim)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        x = self.norm(attended(self, q, k, v, attn_mask, is_causal))
        return self.proj_drop(self.proj(x if gate is None else x * gate))


def attended(
    part: nn.Module, q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None, is_causal: bool
) -> Tensor:
    """Values averaged by the softmax of q·k, [B, N, C], by the named operations of ``part``. ``q``, ``k``,
    ``v``: [B, heads, N, C/heads]."""
    scores = part.matmul1(part.q_norm(q), part.k_norm(k).transpose(-2, -1))
    # In place where nothing can look back: the scores are the block's largest tensor.
    scores = scores * part.scale if torch.is_grad_enabled() else scores.mul_(part.scale)
    scores = masked(scores, attn_mask, is_causal)
    x = part.matmul2(part.attn_drop(part.softmax(scores)), v)
    return x.transpose(1, 2).flatten(2)


def masked(scores: Tensor, mask: Tensor | None, is_causal: bool) -> Tensor:
    """``scores`` [B, heads, N, N] with a causal, boolean (True: attend) or additive mask."""
    if is_causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if mask is None:
        return scores
    return scores.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else scores + mask


class ExplicitBlock(nn.Module):
    """timm ``Block``: norm before attention and MLP."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        adopt(self, block)
        self.add1, self.add2 = Add(), Add()

    def forward(self, x: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False) -> Tensor:
        branch = self.attn(self.norm1(x), attn_mask=attn_mask, is_causal=is_causal)
        x = self.add1(x, self.drop_path1(self.ls1(branch)))
        return self.add2(x, self.drop_path2(self.ls2(self.mlp(self.norm2(x)))))


class ExplicitResPostBlock(nn.Module):
    """timm ``ResPostBlock``: norm after attention and MLP, inside the residual branch."""

    def __init__(self, block: ResPostBlock) -> None:
        super().__init__()
        adopt(self, block)
        self.add1, self.add2 = Add(), Add()

    def forward(self, x: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False) -> Tensor:
        branch = self.attn(x, attn_mask=attn_mask, is_causal=is_causal)
        x = self.add1(x, self.drop_path1(self.norm1(branch)))
        return self.add2(x, self.drop_path2(self.norm2(self.mlp(x))))


class ExplicitParallelBlock(nn.Module):
    """timm ``ParallelThingsBlock``: several attentions side by side, then several MLPs."""

    def __init__(self, block: ParallelThingsBlock) -> None:
        super().__init__()
        adopt(self, block)
        self.attn_adds = nn.ModuleList(Add() for _ in block.attns)
        self.ffn_adds = nn.ModuleList(Add() for _ in block.ffns)

    def forward(self, x: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False) -> Tensor:
        branches = [self._attend(branch, x, attn_mask, is_causal) for branch in self.attns]
        for add, branch in zip(self.attn_adds, branches, strict=True):
            x = add(x, branch)
        branches = [ffn(x) for ffn in self.ffns]
        for add, branch in zip(self.ffn_adds, branches, strict=True):
            x = add(x, branch)
        return x

    @staticmethod
    def _attend(branch: nn.Module, x: Tensor, attn_mask: Tensor | None, is_causal: bool) -> Tensor:
        found = branch.attn(branch.norm(x), attn_mask=attn_mask, is_causal=is_causal)
        return branch.drop_path(branch.ls(found))


class ExplicitParallelScalingBlock(nn.Module):
    """timm ``ParallelScalingBlock``: attention and MLP side by side, whose first layers are one."""

    def __init__(self, block: ParallelScalingBlock) -> None:
        super().__init__()
        if getattr(block, "out_proj", None) is not None:  # older releases of timm have none
            raise VitqError("a ParallelScalingBlock with one output layer for attention and MLP is not known")
        adopt(self, block)
        self.mlp_bias = block.mlp_bias
        self.num_heads, self.widths, self.scale = block.num_heads, block.in_split, block.scale
        self.matmul1, self.softmax, self.matmul2 = MatMul(), Softmax(), MatMul()
        self.add1, self.add2 = Add(), Add()

    def forward(self, x: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False) -> Tensor:
        hidden, *qkv = self.in_proj(self.in_norm(x)).split(self.widths, dim=-1)
        q, k, v = (each.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for each in qkv)
        attention = self.attn_out_proj(attended(self, q, k, v, attn_mask, is_causal))
        if self.mlp_bias is not None:
            hidden = add_layer_bias(hidden, self.mlp_bias)
        mlp = self.mlp_out_proj(self.mlp_drop(self.mlp_act(hidden)))
        return self.add2(x, self.drop_path(self.ls(self.add1(attention, mlp))))


EXPLICIT = {
    Block: ExplicitBlock,
    ResPostBlock: ExplicitResPostBlock,
    ParallelThingsBlock: ExplicitParallelBlock,
    ParallelScalingBlock: ExplicitParallelScalingBlock,
}
