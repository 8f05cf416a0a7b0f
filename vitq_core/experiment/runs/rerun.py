"""Run again what is stored: `python -m vitq_core.experiment.runs.rerun ID`; without an ID all are listed.

The numbers must be the same as they were; where one is not, it is shown beside what it was, with what
else has changed: weights, pictures, versions.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...models import Model, load_model
from ...quantized.result import QuantizeResult
from ..folders import folder_source, upload_source
from ..generated import Generated
from ..measure import Cancel, Progress, part_of
from ..prompted import (
    Counted,
    Tried,
    compare_on,
    judging_photographs,
    judging_scenes,
    quantize_on_scenes,
)
from ..run import quantize_and_measure, refer
from ..samples import Source, builtin_source
from .asked import FOLDER, GENERATED, OWN, SCENES, UPLOADS, Asked
from .record import RunRecord, record_of, record_of_answers
from .store import RunStore

MADE = 0.7  # how much of a run of Segment Anything is done when it is quantized
SAME = 1e-9  # numbers that differ by less are the same


def carry_out(asked: Asked, progress: Progress | None = None, cancel: Cancel | None = None) -> RunRecord:
    """From nothing. Raises ValueError where the model or the pictures are not there any more, Cancelled."""
    model = load_model(asked.model)
    work = _prompted if model.info.task == "segmentation" else _answered
    return work(asked, model, progress, cancel)


def source_of(asked: Asked, model: Model) -> Source:
    """The pictures of a model that takes no prompts."""
    if asked.pictures == OWN:
        return builtin_source(model)
    if asked.pictures == FOLDER:
        return folder_source(model, asked.places[0])
    if asked.pictures == UPLOADS:
        return upload_source(model, [Path(place) for place in asked.places])
    if asked.pictures == GENERATED:
        return Generated(model, builtin_source(model))
    raise ValueError(f"there is no kind of pictures called {asked.pictures!r:.80} for this model")


def _answered(asked: Asked, model: Model, progress: Progress | None, cancel: Cancel | None) -> RunRecord:
    begin, source = time.perf_counter(), source_of(asked, model)
    reference = refer(model, source, asked.judged, part_of(progress, 0, 0.3), cancel)
    measured = quantize_and_measure(
        model, source, reference, asked.recipe, asked.calibration,
        seed=asked.seed, progress=part_of(progress, 0.3, 1), cancel=cancel,
    )  # fmt: skip
    return record_of_answers(asked, model, source, reference, measured, time.perf_counter() - begin)


def _prompted(asked: Asked, model: Model, progress: Progress | None, cancel: Cancel | None) -> RunRecord:
    return prompted(asked, model, judges_of(asked), progress, cancel)[0]


def judges_of(asked: Asked) -> Counted:
    """What judges a Segment Anything. Raises ValueError where the pictures are not there any more."""
    if asked.pictures == SCENES:
        return judging_scenes(asked.judged)
    return judging_photographs(next(iter(asked.places), ""), asked.judged)


def prompted(
    asked: Asked,
    model: Model,
    judges: Counted,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
    **called: Any,
) -> tuple[RunRecord, QuantizeResult, Tried]:
    """Of a Segment Anything. ``called``: the record's name and settings. Raises Cancelled."""
    begin = time.perf_counter()
    result = quantize_on_scenes(
        model, asked.recipe, asked.calibration, asked.seed, part_of(progress, 0, MADE), cancel
    )
    tried = compare_on(model, result.model, judges, part_of(progress, MADE, 1), cancel)
    record = record_of(
        asked, model, (asked.pictures, *asked.places), judges.digest, result, tried.as_results(),
        time.perf_counter() - begin, **called,
    )  # fmt: skip
    return record, result, tried


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """A line for each that is not what it was."""
    for name in dict.fromkeys((*old, *new)):
        was, now = old.get(name), new.get(name)
        if isinstance(was, Mapping) and isinstance(now, Mapping):
            yield from differences(was, now, f"{prefix}{name}.")
        elif not _same(was, now):
            yield f"{prefix}{name}: {was} then, {now} now"


def _same(was: Any, now: Any) -> bool:
    if isinstance(was, (list, tuple)) and isinstance(now, (list, tuple)):
        return len(was) == len(now) and all(map(_same, was, now))
    if isinstance(was, float) and isinstance(now, float):
        return abs(was - now) <= SAME * max(1.0, abs(was))
    return was == now


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 1 where a number is another."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("id", nargs="?", help="which run; without it all are listed")
    wanted = parser.parse_args(arguments).id
    store = RunStore()
    if wanted is None:
        for record in store.all():
            print(record.id, time.strftime("%Y-%m-%d %H:%M", time.gmtime(record.made)), record.name)
        return 0
    old = store.get(wanted)
    if old is None:
        print(f"There is no run {wanted!r:.80} in {store.path}.", file=sys.stderr)
        return 2
    print(f"{old.name}: running it again.", flush=True)
    new = carry_out(old.asked)
    changed = [*differences(old.made_of, new.made_of), *differences(old.results, new.results)]
    print("\n".join(changed) or "Every number is the same.")
    return 1 if any(differences(old.results, new.results)) else 0


if __name__ == "__main__":
    sys.exit(main())
