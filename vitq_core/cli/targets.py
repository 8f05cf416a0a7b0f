"""What a command is pointed at: a run, the folder of a quantized model, or a model in full precision."""

from __future__ import annotations

from dataclasses import dataclass

import vitq_core as vq
from vitq_core.experiment import checked_device, given_path
from vitq_core.experiment.runs import RunRecord, RunStore

from . import kept
from .bench import EVERYBODY, Bench
from .ending import reading_input
from .working import Work

LAST = "last"
SHORTEST = 4  # characters of an id that stand for all of it
PACKED = "vitq.json"  # what a folder of `vq.save_quantized` holds


@dataclass(frozen=True, eq=False)
class Target:
    """`model`: with what pictures need to be prepared. `result`, `record`: None where it is no quantized
    one.
    """

    model: vq.Model
    result: vq.QuantizeResult | None = None
    record: RunRecord | None = None

    @property
    def module(self) -> object:
        return self.model.module if self.result is None else self.result.model


def find_run(name: str, store: RunStore | None = None) -> RunRecord | None:
    """By its id, the beginning of it, or `last`. ValueError where the beginning is that of several."""
    store = store or RunStore()
    own = store.all((EVERYBODY,))
    if name == LAST:
        return own[0] if own else None
    found = [
        record
        for record in own
        if record.id == name or (len(name) >= SHORTEST and record.id.startswith(name))
    ]
    if len(found) > 1:
        raise ValueError(f"{name!r:.80} begins the ids of {len(found)} runs; give more of it")
    return found[0] if found else None


def the_run(name: str, store: RunStore | None = None) -> RunRecord:
    """ValueError where there is none."""
    record = find_run(name, store)
    if record is None:
        raise ValueError(f"there is no run {name!r:.80}; `vitq runs list` shows what there is")
    return record


def is_there(name: str) -> bool:
    """Whether it is a file or folder."""
    try:
        return given_path(name, "the model").exists()
    except (ValueError, OSError):
        return False


def is_packed(name: str) -> bool:
    try:
        return (given_path(name, "the folder") / PACKED).is_file()
    except (ValueError, OSError):
        return False


def quantized(name: str, work: Work, device: str | None = None) -> Target:
    """Of a run or a folder. A run whose model is not kept any more is made again, with the same numbers."""
    if is_packed(name):
        return _loaded(name, device)
    record = find_run(name)
    if record is None:
        raise ValueError(
            f"there is no run and no folder of a quantized model {name!r:.200}; `vitq runs list` shows the "
            "runs, and `vitq quantize MODEL --out FOLDER` makes a folder"
        )
    return of_run(record, work, device)


def any_model(name: str, work: Work, device: str | None = None) -> Target:
    """Of a run, a folder of a quantized model, or whatever `vq.load_model` takes."""
    if is_packed(name):
        return _loaded(name, device)
    record = None if is_there(name) else find_run(name)
    if record is not None:
        return of_run(record, work, device)
    return Target(Bench(work, name, device).model)


def of_run(record: RunRecord, work: Work, device: str | None = None) -> Target:
    """From what is kept, or made again."""
    result = kept.found(record.key)
    if result is None or result.source is None:
        work.say(f"Making {record.name} again, as its model is not kept any more.")
        result = Bench(work, record.model, device).made_anew(record.asked).result
    return _moved(result, device, record)


def _loaded(folder: str, device: str | None) -> Target:
    with reading_input():
        result = vq.load_quantized(folder)
    if result.source is None:
        raise ValueError(
            f"{folder} was made of a bare module and does not say how pictures are prepared for it"
        )
    return _moved(result, device)


def _moved(result: vq.QuantizeResult, device: str | None, record: RunRecord | None = None) -> Target:
    if device is not None:
        result.model.to(checked_device(device))
    return Target(result.source, result, record)
