"""Clicks and boxes to masks with a Segment Anything, and what these are worth."""

from .answer import Answer
from .cache import EmbeddingCache
from .prompts import Prompt, check_prompt, hint
from .segmenter import OpenPicture, Segmenter

__all__ = ["Answer", "EmbeddingCache", "OpenPicture", "Prompt", "Segmenter", "check_prompt", "hint"]
