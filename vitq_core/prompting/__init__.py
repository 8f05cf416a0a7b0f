"""Clicks and boxes to masks with a Segment Anything; everything in a picture; what the masks are worth."""

from .answer import Answer
from .cache import EmbeddingCache
from .calibration import calibration_batches
from .coco import CocoPictures
from .collapse import signs_of_collapse
from .everything import Everything, segment_everything
from .grid import Part, Thresholds
from .labelled import Labelled, drawn_scenes
from .matching import Match, matched
from .means import Score
from .prompts import Prompt, check_prompt, hint
from .protocol import KnownAnswers, PromptScores, measure_prompts
from .rle import RunLengths
from .segmenter import OpenPicture, Segmenter

__all__ = [
    "Answer",
    "CocoPictures",
    "EmbeddingCache",
    "Everything",
    "KnownAnswers",
    "Labelled",
    "Match",
    "OpenPicture",
    "Part",
    "Prompt",
    "PromptScores",
    "RunLengths",
    "Score",
    "Segmenter",
    "Thresholds",
    "calibration_batches",
    "check_prompt",
    "drawn_scenes",
    "hint",
    "matched",
    "measure_prompts",
    "segment_everything",
    "signs_of_collapse",
]
