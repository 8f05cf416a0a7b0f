"""Which layers matter: scores streamed over pictures, from relevance or from what others use."""

from . import fisher, relevance, sqnr  # each registers its source
from .sources import SOURCES
from .stream import importance

__all__ = ["SOURCES", "fisher", "importance", "relevance", "sqnr"]
