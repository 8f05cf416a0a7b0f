"""Which parts of a model are quantized: Segment Anything's image encoder, its mask decoder, or both."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from ..common.checks import check_name
from .base import Family
from .site import Unit


def left_out(family: Family, module: nn.Module, parts: Sequence[str] | None) -> set[str]:
    """The modules of sites that are in none of the chosen ``parts`` (None: all are chosen).

    Raises ValueError for a part that a model of this family does not have.
    """
    if parts is None:
        return set()
    known = family.parts(module)
    if not known:
        raise ValueError(
            f"parts={tuple(parts)!r} does nothing here: a {family.name} model is quantized whole"
        )
    chosen = [Unit(known[check_name("part", part, known)]) for part in parts]
    sites = [*family.sites(module), *family.head_sites(module)]
    return {site.module for site in sites if not any(part.holds(site.module) for part in chosen)}
