"""The vocabulary: layers (matrix multiplications), their sites (tensors to quantize), norm pairs, units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

WEIGHT = "weight"
INPUT, SECOND, OUTPUT = "input", "input2", "output"
# Roles of tensors between layers, which only recipes that name them quantize: a pattern such as "*" does not.
STREAM = "stream"  # what blocks hand on, and LayerNorms read
BETWEEN = (
    *(STREAM, "embedding", "position_embedding", "qkv", "scores", "softmax_input", "position_bias"),
    *("branch", "norm_output", "answer"),
)
HEAD, HEAD_WEIGHT = "head", "head_weight"  # roles in layers that are quantized only where they are asked for


@dataclass(frozen=True)
class Site:
    """One tensor that may be quantized, and what it means.

    ``module`` is the layer's dotted name (``blocks.3.attn.qkv``), ``tensor`` one of ``weight``, ``input``,
    ``input2``, and ``role`` the same word in every family: ``image``, ``post_layernorm``, ``query``, ``key``,
    ``post_softmax``, ``value``, ``attention_output``, ``post_gelu``, ``features``, ``weight``, … Of a tensor
    between layers (:data:`BETWEEN`) ``module`` is any operation, and ``tensor`` may be its ``output``.
    """

    module: str
    tensor: str
    role: str

    def __str__(self) -> str:
        return f"{self.module}:{self.tensor}"

    @property
    def between(self) -> bool:
        """Whether it lies between layers."""
        return self.role in BETWEEN


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
class ScoredAttention:
    """An attention, by its module's ``name``, whose ``query`` and ``key`` are layers of their own and which
    says what it compares (``compared``, ``weights``). ``product``: the layer that multiplies them."""

    name: str
    query: str
    key: str
    product: str


@dataclass(frozen=True)
class ReadNorm:
    """A LayerNorm, by name, that reads what the site ``source`` quantizes, ``repeats`` times side by side,
    and gives what ``target`` quantizes."""

    norm: str
    source: Site
    target: Site
    repeats: int = 1


@dataclass(frozen=True)
class Between:
    """What a model computes with between its layers, for recipes that quantize that too.

    ``sites``: in forward order. ``same``: {input of a product: (site of which it is a part, factor)}: it has
    the codes of that site, times a number. ``softmaxes``: {name: the site of the scores, before any mask}.
    """

    sites: tuple[Site, ...]
    same: Mapping[Site, tuple[Site, float]] = field(default_factory=dict)
    norms: tuple[ReadNorm, ...] = ()
    softmaxes: Mapping[str, Site] = field(default_factory=dict)


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
