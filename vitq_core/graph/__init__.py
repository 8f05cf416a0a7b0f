"""What a model is made of: layers, sites, units; one rewritten, traced copy of it; a package per family."""

from . import vit  # registers "vit"
from .base import FAMILIES, AttentionMaps, Family, family_of

__all__ = ["FAMILIES", "AttentionMaps", "Family", "family_of", "vit"]
