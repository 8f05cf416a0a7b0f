"""The command line `vitq`. A command is a file here that registers itself, and a line below.

Everything but the frame is imported inside the commands: help and completion must not wait for torch.
"""

import os

# Read when torch is loaded. Threads that wait by spinning make a machine that does something else beside many
# times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from . import (  # noqa: F401 - each registers its command
    allocate,
    evaluate,
    export,
    importance,
    job,
    models,
    quantize,
    relevance,
    reproduce,
    runs,
    segment,
    sweep,
)
from .application import program


def main() -> None:
    """Run the command line; ends the program with its exit code."""
    program(prog_name="vitq")


__all__ = ["main"]
