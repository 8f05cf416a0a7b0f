"""Turning importance into bits: the paper's policy, and an exact integer program under a budget."""

from .allocate import allocate_bits, forecast_bits
from .budget import Budget
from .forecast import Forecast

__all__ = ["Budget", "Forecast", "allocate_bits", "forecast_bits"]
