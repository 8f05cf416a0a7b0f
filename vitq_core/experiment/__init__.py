"""What the studio, the command line and the benchmarks do alike, and what they need of the engine for it."""

from ..allocation.budget import OutOfReach
from ..common.checks import is_name, is_number
from ..common.digests import digest_of
from ..common.files import given_path, replace_file
from ..common.home import vitq_home
from ..common.options import Option, options_of
from ..common.words import counted, readable
from ..demo import scenes
from ..graph.copies import private_copy
from ..graph.prepared import prepare
from ..pictures import open_picture
from ..pictures.hub_pictures import names_dataset
from ..pictures.preprocess import INTERPOLATIONS
from ..quantized.report import LEARNING, RECONSTRUCTED
from ..recipes.options import known_options
from ..recipes.recipe import MAX_BITS, MIN_BITS
from ..recipes.schedule import EFFORT_NAMES
from ..reconstruction.progress import spoken

__all__ = [
    "EFFORT_NAMES",
    "INTERPOLATIONS",
    "LEARNING",
    "MAX_BITS",
    "MIN_BITS",
    "RECONSTRUCTED",
    "Option",
    "OutOfReach",
    "counted",
    "digest_of",
    "given_path",
    "is_name",
    "is_number",
    "known_options",
    "names_dataset",
    "open_picture",
    "options_of",
    "prepare",
    "private_copy",
    "readable",
    "replace_file",
    "scenes",
    "spoken",
    "vitq_home",
]
