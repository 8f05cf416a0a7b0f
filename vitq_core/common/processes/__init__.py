"""Many processes that do one piece of work: those that ``torchrun`` started, on one machine or on many.

They talk through the store that ``torchrun`` sets up, in texts, and not by collectives: in a collective
everybody hangs where one has died, and a shard that takes longer than others is taken for dead.
"""

from .group import ALONE, Group
from .joining import joined
from .watch import WorkerLost

__all__ = ["ALONE", "Group", "WorkerLost", "joined"]
