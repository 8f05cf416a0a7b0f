"""What ranks layers: relevance, Fisher information, signal to noise; scores streamed over pictures."""

from . import fisher, relevance, sqnr  # each registers its source

__all__ = ["fisher", "relevance", "sqnr"]
