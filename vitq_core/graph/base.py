"""What the engine asks of a model family: rewrite, list sites, pair norms with linears, order the modules."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from torch import nn

from ..common.errors import VitqError
from ..common.registry import Registry
from .site import Between, Heads, NormPair, ScoredAttention, Site, Unit


@dataclass(frozen=True)
class AttentionMaps:
    """Where a heat map comes from: per block the softmax modules, whose output is [B, heads, tokens, tokens].

    The first ``prefix`` tokens are no patches; the others are a ``grid`` of (rows, columns). ``answer``: the
    tokens that the head reads: the class token, or those that are pooled.
    """

    blocks: tuple[tuple[str, ...], ...]
    prefix: int
    answer: slice
    grid: tuple[int, int]


class Family(ABC):
    """One file per family. Methods take a module that ``matches``, or its ``config``."""

    name: str

    @abstractmethod
    def matches(self, module: nn.Module) -> bool:
        """Whether ``module`` (rewritten or not) is of this family."""

    def refused(self, module: nn.Module) -> str | None:
        """Why ``module``, which is like those of this family, is none of them; None where it is not."""
        return None

    @abstractmethod
    def rewrite(self, module: nn.Module) -> None:
        """In place: every matmul, softmax and residual add becomes a named module; outputs stay within 1e-5.

        Raises VitqError for a variant of the family whose blocks it does not know.
        """

    @abstractmethod
    def sites(self, module: nn.Module) -> list[Site]:
        """Every site of a rewritten module, in forward order."""

    @abstractmethod
    def pairs(self, module: nn.Module) -> list[NormPair]:
        """LayerNorms that reparameterization may rescale together with the layers that read them."""

    @abstractmethod
    def heads(self, module: nn.Module) -> list[Heads]:
        """The attentions of a rewritten module whose queries, keys or values may be centred and rotated."""

    def head_sites(self, module: nn.Module) -> list[Site]:
        """Of layers that stay in floating point unless somebody asks for them; none in most families."""
        return []

    def between(self, module: nn.Module) -> Between | None:
        """The tensors between the layers of a rewritten module; None where the family does not list them."""
        return None

    def parts(self, module: nn.Module) -> dict[str, str]:
        """{part: the module that it is} for those that may be quantized alone; none in most families."""
        return {}

    def scored_attentions(self, module: nn.Module) -> list[ScoredAttention]:
        """Of a rewritten module, in forward order; none in most families."""
        return []

    def foldable(self, module: nn.Module) -> list[tuple[str, str]]:
        """(query, key): the layers of attentions whose keys may pile up at two values; none in most
        families."""
        return []

    @abstractmethod
    def blocks(self, module: nn.Module) -> list[str]:
        """Modules that run one after the other, each on what the last returned (the blocks)."""

    @abstractmethod
    def units(self, module: nn.Module) -> list[Unit]:
        """What is reconstructed, in forward order: attentions, MLPs, and the layers that stand alone."""

    @abstractmethod
    def attention_maps(self, module: nn.Module, size: tuple[int, int]) -> AttentionMaps | None:
        """Of a rewritten module, for pictures of ``size`` (height, width); None where maps of several sizes
        make no heat map."""

    @abstractmethod
    def input_size(self, module: nn.Module) -> tuple[int, int, int] | None:
        """(channels, height, width) of the pictures it takes, or None where any size goes."""

    @abstractmethod
    def config(self, module: nn.Module) -> dict[str, Any]:
        """JSON-ready arguments from which :meth:`build` makes the same architecture."""

    @abstractmethod
    def repeats(self, config: dict[str, Any]) -> tuple[int, ...]:
        """The numbers of parts that :meth:`build` makes one after the other. Each part has tensors of its
        own, so a file that holds fewer tensors holds another model."""

    @abstractmethod
    def build(self, config: dict[str, Any]) -> nn.Module:
        """An untrained, rewritten module of this architecture, in eval mode."""


FAMILIES: Registry[Family] = Registry("model family")


def family_of(module: nn.Module) -> Family:
    """The family of ``module``; VitqError names the ones there are, or the model inside a wrapper."""
    for family in FAMILIES.values():
        if family.matches(module):
            return family
    for family in FAMILIES.values():
        if reason := family.refused(module):
            raise VitqError(reason)
    for name, part in module.named_modules():
        if any(family.matches(part) for family in FAMILIES.values()):
            raise VitqError(
                f"no model family knows {type(module).__name__}, but it holds a {type(part).__name__}: "
                f"give its {_spoken(name)}, and do to pictures and outputs yourself what the other parts do"
            )
    raise VitqError(
        f"no model family knows {type(module).__name__}; known: {', '.join(sorted(FAMILIES))} "
        "(timm's VisionTransformer and SwinTransformer, segment-anything's Sam)"
    )


def _spoken(name: str) -> str:
    """``.model`` or ``part '1'``, as Python writes it."""
    return f".{name}" if all(part.isidentifier() for part in name.split(".")) else f"part {name!r}"
