"""What a model is made of: layers, sites, units; one rewritten, traced copy of it; a package per family."""

from . import sam, swin, vit  # each registers its family
from .base import FAMILIES, AttentionMaps, Family, family_of

__all__ = ["FAMILIES", "AttentionMaps", "Family", "family_of", "sam", "swin", "vit"]
