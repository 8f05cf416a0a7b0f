"""``importance``: layer scores over any number of pictures, in constant memory, resumable."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from torch import Tensor, nn

from ..common.arithmetic import plain_arithmetic
from ..common.batch import Batch
from ..common.errors import VitqError
from ..common.files import given_path, write_atomically
from ..common.monitor import Monitor, Progress
from ..common.words import counted
from ..data.batches import Watched, streamed
from ..graph.prepared import PreparedModel, peeked, prepare
from ..lrp.targets import Targets, check_batch_size, check_takes
from ..models import Model
from .memory import at_once
from .scores import Importance, Tally, checked_state
from .sources import SOURCES

SAVE_EVERY = 5.0  # seconds
# What reading a file that is no state raises.
DAMAGE = (OSError, ArithmeticError, LookupError, TypeError, AttributeError, ValueError, RecursionError)


@plain_arithmetic
def importance(
    model: Model | nn.Module,
    images: Tensor | Iterable,
    source: str = "relevance",
    targets: int | Iterable | Tensor | None = None,
    batch_size: int = 32,
    progress: Progress | None = None,
    cancel: object = None,
    state: str | Path | None = None,
) -> Importance:
    """Score every layer with ``source`` (``SOURCES``) on all ``images`` [N, C, H, W] or batches of them.

    ``state``: a file that keeps what was gathered, also when cancelled or killed; with the same model, source
    and pictures in the same order the next call goes on from there. Raises ValueError and VitqError as
    :func:`vitq_core.lrp` does, and VitqError for a state of another run.
    """
    kind = SOURCES[source]
    check_batch_size(batch_size)
    watched = Watched(images)
    first, images = peeked(watched.images, model, "importance")
    prepared = prepare(model, "importance", first)
    check_takes(prepared.task, targets)
    monitor, total, scorer = Monitor(progress, cancel), watched.count, kind(prepared)
    targets = Targets(targets, total)
    keeper = _Keeper(state, lambda: _fingerprint(prepared, source, first, targets))
    tally, done = keeper.tally, keeper.tally.pictures
    if done and not set(prepared.names) <= tally.state.keys():
        raise VitqError(f"{state} holds no state of an importance run; delete it: it lacks layers")
    if total is not None and done > total:
        raise VitqError(f"{state} has seen {counted(done, 'picture')} already, more than the {total} given")
    targets.take(done, prepared.device)
    try:
        monitor.report(
            done / total if total else 0.0, f"{counted(done, 'picture')} seen" if done else "Preparing"
        )
        for batch in streamed(images, prepared.collate, at_once(prepared, batch_size), skip=done):
            tally.add(scorer.scores(batch, targets.take(len(batch), prepared.device)))
            keeper.save(SAVE_EVERY)
            monitor.report(watched.share(tally.pictures), f"{counted(tally.pictures, 'picture')} seen")
    finally:
        keeper.save()
    targets.check_used()
    monitor.report(1.0, "Done")
    return tally.result(source, prepared.names)


class _Keeper:
    """The tally and its file; without a file it only holds the tally."""

    def __init__(self, path: str | Path | None, fingerprint: Callable[[], str]) -> None:
        self._path = _checked_path(path)
        self._fingerprint = "" if path is None else fingerprint()
        self.tally = Tally(self._read())
        self._saved = time.monotonic()

    def _read(self) -> dict | None:
        if self._path is None or not self._path.is_file():
            return None
        try:
            data = json.loads(self._path.read_text())
            fingerprint, state = data["fingerprint"], data["state"]
            checked = checked_state(state)
        except DAMAGE as error:
            raise VitqError(f"{self._path} holds no state of an importance run; delete it") from error
        if fingerprint != self._fingerprint:
            raise VitqError(
                f"{self._path} belongs to another run (model, source, targets or first picture differ); "
                "delete it or name another file"
            )
        return checked

    def save(self, every: float = 0.0) -> None:
        """Write the tally, unless it was written less than ``every`` seconds ago."""
        if self._path is None or not self.tally.state or time.monotonic() - self._saved < every:
            return
        data = {"fingerprint": self._fingerprint, "state": self.tally.state}
        write_atomically(self._path, lambda path: path.write_text(json.dumps(data)), "the state")
        self._saved = time.monotonic()


def _checked_path(path: object) -> Path | None:
    if path is None:
        return None
    file = given_path(path, "state", "file")
    if file.is_dir():
        raise ValueError(f"state must be the name of a file, got {path!r:.80}")
    return file


def _fingerprint(prepared: PreparedModel, source: str, first: Batch, targets: Targets) -> str:
    """Of everything that makes a score what it is, but for the pictures after the first."""
    digest = hashlib.sha256(source.encode())
    classes = [] if targets.classes is None else [targets.classes]
    for tensor in (*prepared.module.state_dict().values(), *first.to("cpu").tensors, *classes):
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
