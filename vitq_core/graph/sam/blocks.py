"""The blocks of the ``segment-anything`` package with every operation a named module.

Each takes over the child modules of the one it stands for.
"""

from __future__ import annotations

import torch
from segment_anything.modeling import Sam
from segment_anything.modeling.common import LayerNorm2d
from segment_anything.modeling.image_encoder import Attention as EncoderAttention
from segment_anything.modeling.image_encoder import Block, get_rel_pos, window_unpartition
from segment_anything.modeling.transformer import Attention as DecoderAttention
from segment_anything.modeling.transformer import TwoWayAttentionBlock, TwoWayTransformer
from torch import Tensor, nn
from torch.nn import functional

from ..ops import Add, MatMul, Softmax, adopt
from ..rescaling import PADDING, filled_up


class PositionedMatMul(nn.Module):
    """Scores of an encoder's attention: ``scale · q kᵀ`` and what the relative positions add to it, which
    read the query as it is quantized but not scaled."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, q: Tensor, k: Tensor, rows: Tensor | None, columns: Tensor | None) -> Tensor:
        """``q`` [B, heads, H·W, d], ``k`` [B, heads, d, H·W]; ``rows`` [H, H, d] and ``columns`` [W, W, d]:
        embeddings of the distances, None where the model has none."""
        written_over = not torch.is_grad_enabled()  # fresh memory costs as much as the arithmetic
        scores = (q @ k).mul_(self.scale) if written_over else (q @ k) * self.scale
        if rows is None:
            return scores
        batch, heads, tokens, size = q.shape
        height, width = len(rows), len(columns)
        grid = q.reshape(batch, heads, height, width, size)
        along = grid @ rows.transpose(1, 2)
        across = (grid.transpose(2, 3) @ columns.transpose(1, 2)).transpose(2, 3)
        apart = scores.view(batch, heads, height, width, height, width)
        if written_over:
            apart.add_(along[..., None]).add_(across[..., None, :])
            return scores
        return (apart + along[..., None] + across[..., None, :]).view(batch, heads, tokens, tokens)


class ExplicitEncoderAttention(nn.Module):
    """Input [B, H, W, C]: a picture's patches, or those of one window each."""

    def __init__(self, attention: EncoderAttention) -> None:
        super().__init__()
        adopt(self, attention)
        self.num_heads = attention.num_heads
        self.rel_pos_h = attention.rel_pos_h if attention.use_rel_pos else None
        self.rel_pos_w = attention.rel_pos_w if attention.use_rel_pos else None
        self.matmul1, self.softmax, self.matmul2 = PositionedMatMul(attention.scale), Softmax(), MatMul()

    @property
    def use_rel_pos(self) -> bool:
        return self.rel_pos_h is not None

    def forward(self, x: Tensor) -> Tensor:
        batch, height, width, channels = x.shape
        size = channels // self.num_heads
        qkv = self.qkv(x).reshape(batch, height * width, 3, self.num_heads, size)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        rows = columns = None
        if self.use_rel_pos:
            rows = get_rel_pos(height, height, self.rel_pos_h)
            columns = get_rel_pos(width, width, self.rel_pos_w)
        x = self.matmul2(self.softmax(self.matmul1(q, k.transpose(-2, -1), rows, columns)), v)
        return self.proj(x.transpose(1, 2).reshape(batch, height, width, channels))


class ExplicitEncoderBlock(nn.Module):
    """Patches that a window lacks at the edge are filled up behind the norm with its ``padding`` [C]: zeros,
    until it is rescaled. They take part in the attention and are cut off again."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        adopt(self, block)
        self.window_size = block.window_size
        if self.window_size:
            self.norm1.register_buffer(PADDING, torch.zeros_like(block.norm1.bias))
        self.add1, self.add2 = Add(), Add()

    def forward(self, x: Tensor) -> Tensor:
        attended = self._in_windows(self.norm1(x)) if self.window_size else self.attn(self.norm1(x))
        x = self.add1(x, attended)
        return self.add2(x, self.mlp(self.norm2(x)))

    def _in_windows(self, x: Tensor) -> Tensor:
        side, (batch, height, width, channels) = self.window_size, x.shape
        rows, columns = (-(-length // side) * side for length in (height, width))
        padded = filled_up(x, rows, columns, self.norm1.padding)
        windows = padded.view(batch, rows // side, side, columns // side, side, channels)
        windows = windows.permute(0, 1, 3, 2, 4, 5).reshape(-1, side, side, channels)
        return window_unpartition(self.attn(windows), side, (rows, columns), (height, width))


class ExplicitDecoderAttention(nn.Module):
    """Queries, keys and values [P, tokens, C] are projected first, perhaps to fewer channels."""

    def __init__(self, attention: DecoderAttention) -> None:
        super().__init__()
        adopt(self, attention)
        self.embedding_dim, self.internal_dim = attention.embedding_dim, attention.internal_dim
        self.num_heads = attention.num_heads
        self.matmul1, self.softmax, self.matmul2 = MatMul(), Softmax(), MatMul()

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        x = self.matmul2(self.weights(q, k), self._heads(self.v_proj(v)))
        return self.out_proj(x.transpose(1, 2).flatten(2))

    def weights(self, q: Tensor, k: Tensor) -> Tensor:
        """[P, heads, tokens of q, tokens of k], each row of sum 1."""
        queries, keys = self.compared(q, k)
        return self.softmax(self.matmul1(queries, keys) / queries.shape[-1] ** 0.5)

    def compared(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Queries [P, heads, tokens, d] and keys [P, heads, d, tokens]."""
        return self._heads(self.q_proj(q)), self._heads(self.k_proj(k)).transpose(-2, -1)

    def _heads(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:2], self.num_heads, -1).transpose(1, 2)


class ExplicitTwoWayBlock(nn.Module):
    """A decoder layer: tokens attend to themselves and to the picture, then the picture to the tokens. The
    norms come after the additions; positions are added to queries and keys alone."""

    def __init__(self, block: TwoWayAttentionBlock) -> None:
        super().__init__()
        adopt(self, block)
        self.skip_first_layer_pe = block.skip_first_layer_pe
        self.add1, self.add2, self.add3, self.add4 = Add(), Add(), Add(), Add()

    def forward(
        self, queries: Tensor, keys: Tensor, query_pe: Tensor, key_pe: Tensor
    ) -> tuple[Tensor, Tensor]:
        if self.skip_first_layer_pe:  # nothing stands for the tokens yet
            queries = self.self_attn(queries, queries, queries)
        else:
            q = queries + query_pe
            queries = self.add1(queries, self.self_attn(q, q, queries))
        queries = self.norm1(queries)
        attended = self.cross_attn_token_to_image(queries + query_pe, keys + key_pe, keys)
        queries = self.norm2(self.add2(queries, attended))
        queries = self.norm3(self.add3(queries, self.mlp(queries)))
        attended = self.cross_attn_image_to_token(keys + key_pe, queries + query_pe, queries)
        return queries, self.norm4(self.add4(keys, attended))


class ExplicitTransformer(nn.Module):
    """The decoder's layers, and the tokens' last look at the picture."""

    def __init__(self, transformer: TwoWayTransformer) -> None:
        super().__init__()
        adopt(self, transformer)
        self.depth, self.num_heads = transformer.depth, transformer.num_heads
        self.embedding_dim, self.mlp_dim = transformer.embedding_dim, transformer.mlp_dim
        self.add = Add()

    def forward(
        self, image_embedding: Tensor, image_pe: Tensor, point_embedding: Tensor
    ) -> tuple[Tensor, Tensor]:
        """``image_embedding`` and ``image_pe`` [P, C, h, w], ``point_embedding`` [P, tokens, C]."""
        keys, positions = (x.flatten(2).permute(0, 2, 1) for x in (image_embedding, image_pe))
        queries = point_embedding
        for layer in self.layers:
            queries, keys = layer(queries, keys, point_embedding, positions)
        attended = self.final_attn_token_to_image(queries + point_embedding, keys + positions, keys)
        return self.norm_final_attn(self.add(queries, attended)), keys


class ExplicitLayerNorm2d(nn.Module):
    """Over the channels of [B, C, h, w]."""

    def __init__(self, norm: LayerNorm2d) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, x: Tensor) -> Tensor:
        x = functional.layer_norm(x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


class ExplicitSam(Sam):
    """Its forward lets gradients pass."""

    forward = Sam.forward.__wrapped__
