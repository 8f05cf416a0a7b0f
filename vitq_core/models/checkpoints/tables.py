"""The tables of tensors in what a training saved, the ones meant for use first."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ...common.errors import VitqError

DEPTH = 3  # tables within tables: {"ema": {"module": {…}}}
TRAINING = re.compile(r"optim|sched|scaler|loss|callback")  # what only going on with a training needs
AVERAGED = {
    "ema",
    "teacher",
    "swa",
    "averaged",
}  # copies kept beside the trained weights, and used in their place
USUAL = ("", "model", "state_dict", "model_state_dict", "module")


@dataclass(frozen=True, eq=False)
class Table:
    """Tensors by name, under `label` in the file ("model_ema"); the file itself is "" ."""

    label: str
    tensors: dict[str, Tensor]

    @property
    def averaged(self) -> bool:
        return bool(AVERAGED & set(re.split(r"[._]", self.label)))


def tables_of(loaded: Any, name: str) -> list[Table]:
    """Every table in `loaded`: averaged weights before those they are the average of, usual names first.

    Raises VitqError, calling the file `name`, where there is none.
    """
    found = sorted(_tables("", loaded, DEPTH), key=_rank)
    if not found:
        raise VitqError(
            f"the weights of {name} cannot be told: the file holds no tensors by name; save a state_dict()"
        )
    return found


def _rank(table: Table) -> tuple[bool, int]:
    usual = USUAL.index(table.label) if table.label in USUAL else len(USUAL)
    return not table.averaged, usual


def _tables(label: str, value: Any, depth: int) -> Iterator[Table]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        return
    tensors = {key: part.detach() for key, part in value.items() if isinstance(part, Tensor)}
    if tensors:
        yield Table(label, tensors)
    for key, part in value.items():
        if depth > 1 and not TRAINING.search(key):
            yield from _tables(f"{label}.{key}" if label else key, part, depth - 1)
