"""Initialization that lets a small ViT or Swin learn fast from few pictures.

Attention starts the way trained transformers look (mimetic initialization, Trockman & Kolter, arXiv
2305.09828): queries times keys close to a multiple of the identity, values times projection close to minus
a multiple of it. Positions start as 2-D sines and cosines, so that with such queries and keys a token first
attends to those near it.
"""

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn


def initialize(model: nn.Module) -> None:
    """Set the position embedding, where there is one, and all attention weights of a ViT or Swin in place,
    from torch's random state.
    """
    with torch.no_grad():
        if isinstance(model, VisionTransformer):
            prefix = model.num_prefix_tokens
            model.pos_embed[:, :prefix] = 0
            model.pos_embed[:, prefix:] = sincos_positions(*model.patch_embed.grid_size, model.embed_dim)
        for module in model.modules():
            if hasattr(module, "qkv"):
                _initialize_attention(module)


def sincos_positions(height: int, width: int, dim: int) -> Tensor:
    """Embedding [height·width, dim] of sines and cosines over rows and columns; `dim` is divisible by 4."""
    if dim % 4:
        raise ValueError(f"a 2-D sine-cosine embedding needs a width divisible by 4, not {dim}")
    rates = 1 / 10_000 ** (torch.arange(dim // 4) / (dim // 4))
    rows, cols = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    angles = [axis.reshape(-1, 1) * rates for axis in (rows, cols)]
    return torch.cat([f(angle) for angle in angles for f in (torch.sin, torch.cos)], dim=1)


def _initialize_attention(attn: nn.Module) -> None:
    dim = attn.proj.in_features
    queries, keys = [], []
    for _ in range(attn.num_heads):
        query, key = _factors(_noisy_identity(dim, 0.7, 0.7), dim // attn.num_heads)
        queries.append(query)
        keys.append(key)
    value, projection = _factors(_noisy_identity(dim, 0.4, -0.4), dim)
    attn.qkv.weight.copy_(torch.cat([*queries, *keys, value]))
    attn.proj.weight.copy_(projection.T)


def _noisy_identity(dim: int, noise: float, identity: float) -> Tensor:
    return noise * torch.randn(dim, dim) / dim**0.5 + identity * torch.eye(dim)


def _factors(product: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Two [rank, dim] matrices a, b with aᵀ·b the best rank-`rank` approximation of `product` [dim, dim]."""
    u, sigma, vh = torch.linalg.svd(product)
    root = sigma[:rank].sqrt()
    return (u[:, :rank] * root).T, root[:, None] * vh[:rank]
