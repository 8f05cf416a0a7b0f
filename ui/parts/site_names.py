"""Layers and tensors by names that people can read, with the dotted name beside."""

from __future__ import annotations

import re

ROLES = {
    "image": "picture",
    "post_layernorm": "after normalization",
    "post_norm": "after normalization",
    "query": "queries",
    "key": "keys",
    "post_softmax": "attention probabilities",
    "value": "values",
    "attention_output": "averaged values",
    "post_gelu": "after GELU",
    "post_relu": "after ReLU",
    "mlp_hidden": "inside the MLP",
    "features": "features",
    "weight": "weights",
}
LAYERS = {
    "attn.qkv": "queries, keys, values",
    "attn.matmul1": "attention scores",
    "attn.matmul2": "averaging of values",
    "attn.proj": "attention output",
    "mlp.fc1": "first MLP layer",
    "mlp.fc2": "second MLP layer",
    "patch_embed.proj": "patch embedding",
    "head": "head",
    "head.fc": "head",
    "downsample.reduction": "patch merging",
}
BLOCK = re.compile(r"(?:.*\.)?blocks\.(\d+)\.(.+)")
STAGE = re.compile(r"layers\.(\d+)\.((?:blocks|downsample)\..+)")


def layer_name(dotted: str) -> str:
    """``block 4, attention scores`` of ``blocks.3.attn.matmul1``; what has no such name as it is."""
    staged = STAGE.fullmatch(dotted)
    if staged is not None:
        number, rest = staged.groups()
        return f"stage {int(number) + 1}, {layer_name(rest)}"
    inside = BLOCK.fullmatch(dotted)
    if inside is None:
        return LAYERS.get(dotted, dotted)
    number, rest = inside.groups()
    return f"block {int(number) + 1}, {LAYERS.get(rest, rest.replace('.', ' '))}"


def tensor_name(role: str) -> str:
    """Of a site's role."""
    return ROLES.get(role, role.replace("_", " "))
