"""Turning importance into bits: the paper's policy, and an exact integer program under a budget."""

from .allocate import allocate_bits
from .budget import Budget

__all__ = ["Budget", "allocate_bits"]
