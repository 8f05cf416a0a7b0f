"""Clicks and boxes to masks with a Segment Anything; everything in a picture; what the masks are worth."""

from .answer import Answer
from .cache import EmbeddingCache
from .everything import Everything, segment_everything
from .grid import Part, Thresholds
from .matching import Match, matched
from .prompts import Prompt, check_prompt, hint
from .rle import RunLengths
from .segmenter import OpenPicture, Segmenter

__all__ = [
    "Answer",
    "EmbeddingCache",
    "Everything",
    "Match",
    "OpenPicture",
    "Part",
    "Prompt",
    "RunLengths",
    "Segmenter",
    "Thresholds",
    "check_prompt",
    "hint",
    "matched",
    "segment_everything",
]
