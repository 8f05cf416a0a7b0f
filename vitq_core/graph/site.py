"""The vocabulary: layers (matrix multiplications), their sites (tensors to quantize), norm pairs, units."""

from __future__ import annotations

from dataclasses import dataclass

WEIGHT = "weight"
HEAD, HEAD_WEIGHT = "head", "head_weight"  # roles in layers that are quantized only where they are asked for


@dataclass(frozen=True)
class Site:
    """One tensor that may be quantized, and what it means.

    ``module`` is the layer's dotted name (``blocks.3.attn.qkv``), ``tensor`` one of ``weight``, ``input``,
    ``input2``, and ``role`` the same word in every family: ``image``, ``post_layernorm``, ``query``, ``key``,
    ``post_softmax``, ``value``, ``attention_output``, ``post_gelu``, ``features``, ``weight``, …
    """

    module: str
    tensor: str
    role: str

    def __str__(self) -> str:
        return f"{self.module}:{self.tensor}"


@dataclass(frozen=True)
class Layer:
    """One matrix multiplication: its sites and weight parameters; per picture its multiply-accumulates and
    ``outputs``, how many numbers it gives.

    ``shares_input``: other layers read the same tensor (query, key and value of a gated attention, a SwiGLU).
    """

    name: str
    sites: tuple[Site, ...]
    params: int
    macs: int
    shares_input: bool = False
    outputs: int = 0

    @property
    def inputs(self) -> tuple[Site, ...]:
        return tuple(site for site in self.sites if site.tensor != WEIGHT)

    @property
    def weight(self) -> Site | None:
        return next((site for site in self.sites if site.tensor == WEIGHT), None)


@dataclass(frozen=True)
class NormPair:
    """A LayerNorm and every linear layer that reads its output: what reparameterization may rescale."""

    norm: str
    linears: tuple[str, ...]


@dataclass(frozen=True)
class Heads:
    """An attention's ``count`` heads of ``size`` channels. ``qkv``: the layer that makes queries, keys and
    values, [3 · count · size, channels]; ``proj``: the one that reads what the values were averaged to.

    ``scores``: only query·key is made of queries and keys; ``values``: ``proj`` alone reads the averages.
    """

    qkv: str
    proj: str
    count: int
    size: int
    scores: bool = True
    values: bool = True


@dataclass(frozen=True)
class Unit:
    """A module whose output is reconstructed as a whole: an attention, an MLP, a single layer, a block.

    ``softmaxes``: the dotted names of the modules in it whose output is an attention map. The unit named ""
    is the whole model.
    """

    name: str
    softmaxes: tuple[str, ...] = ()

    def holds(self, module: str) -> bool:
        """Whether the module of this dotted name is in it."""
        return self.name in ("", module) or module.startswith(f"{self.name}.")

    @property
    def title(self) -> str:
        return self.name or "whole model"
