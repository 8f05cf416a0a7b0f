"""What the studio, the command line and the benchmarks do alike, and what they need of the engine for it."""

from .. import passes  # noqa: F401 - registers them, and their options
from ..allocation.budget import OutOfReach
from ..common.checks import is_name, is_number
from ..common.digests import digest_of
from ..common.files import given_path, replace_file
from ..common.home import forget_beyond, vitq_home
from ..common.options import Option, options_of, plainly
from ..common.process_memory import give_back, libc, resident_bytes, trim
from ..common.processes import Group, WorkerLost, joined
from ..common.words import counted, readable
from ..demo import scenes
from ..graph.copies import private_copy
from ..graph.prepared import prepare
from ..models.hub_errors import Unreachable
from ..models.loading import is_here
from ..models.model import checked_device
from ..pictures import open_picture
from ..pictures.hub_pictures import names_dataset
from ..pictures.preprocess import INTERPOLATIONS
from ..prompting.rle import RunLengths
from ..quantized.report import LEARNING, RECONSTRUCTED
from ..recipes.options import known_options
from ..recipes.recipe import MAX_BITS, MIN_BITS
from ..recipes.schedule import EFFORT_NAMES, SETTINGS
from ..reconstruction.progress import spoken

__all__ = [
    "EFFORT_NAMES",
    "INTERPOLATIONS",
    "LEARNING",
    "MAX_BITS",
    "MIN_BITS",
    "RECONSTRUCTED",
    "SETTINGS",
    "Group",
    "Option",
    "OutOfReach",
    "RunLengths",
    "Unreachable",
    "WorkerLost",
    "checked_device",
    "counted",
    "digest_of",
    "forget_beyond",
    "give_back",
    "given_path",
    "is_here",
    "is_name",
    "is_number",
    "joined",
    "known_options",
    "libc",
    "names_dataset",
    "open_picture",
    "options_of",
    "plainly",
    "prepare",
    "private_copy",
    "readable",
    "replace_file",
    "resident_bytes",
    "scenes",
    "spoken",
    "trim",
    "vitq_home",
]
