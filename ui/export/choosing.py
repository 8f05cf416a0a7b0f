"""Which runs a visitor may export: their own, and the result on their page."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from vitq_core.experiment import is_name
from vitq_core.experiment.runs import RunRecord

from ..parts.checks import refuse
from ..parts.examples import EXAMPLES
from .making import Exports

ON_A_PAGE = "shown"
MOST = 50  # of those made last
NOTHING = "Choose a run. There is none yet? Press Quantize on the page Quantize or Segment."


class Choice(NamedTuple):
    name: str
    settings: Any


def choices(exports: Exports, owner: str, shown: Sequence[Any]) -> dict[str, Choice]:
    """By their ids, newest first. The results on other pages, whose settings are `shown`, each have one even
    where no run of it is kept: of one that was stopped, or of masks that were not measured. Raises
    StorageError.
    """
    records = []
    for record in exports.bench.runs_of(owner):
        settings = None if record.owner == EXAMPLES else exports.read(record.settings)
        if settings is not None and len(records) < MOST:
            records.append((record, settings))
    often = Counter(record.name for record, _ in records)
    found = {
        record.id: Choice(
            f"{record.name} ({_when(record)})" if often[record.name] > 1 else record.name, settings
        )
        for record, settings in records
    }
    known = [choice.settings for choice in found.values()]
    fresh = {f"{ON_A_PAGE} {type(each).__name__}": Choice(each.title, each) for each in shown}
    return {**{key: choice for key, choice in fresh.items() if choice.settings not in known}, **found}


def id_of(found: Mapping[str, Choice], settings: Any) -> str | None:
    """The newest with these settings; None where there is none."""
    return next((key for key, choice in found.items() if choice.settings == settings), None)


def chosen(found: Mapping[str, Choice] | None, key: Any) -> Any:
    """Raises ValueError for what is none of those that this visitor may choose."""
    if not found or not is_name(key, found):
        refuse({"run": NOTHING})
    return found[key].settings


def _when(record: RunRecord) -> str:
    return time.strftime("%m-%d %H:%M UTC", time.gmtime(record.made))
