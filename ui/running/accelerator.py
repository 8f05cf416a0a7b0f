"""A GPU for heavy work on a Space that has one for moments only (ZeroGPU); elsewhere nothing changes.

There a function gets its GPU in another process, forked from this one at some earlier time: it shares
neither locks nor what was loaded since. So everything it needs goes there as bytes, and all it makes comes
back as bytes that are read onto the CPU. What it is asked meanwhile and what it tells crosses too: a file
that appears says yes, and every report is handed over as it comes.
"""

from __future__ import annotations

import io
import os
import pickle
import tempfile
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

import gradio as gr
import torch

import vitq_core as vq

T = TypeVar("T")
Event = tuple[str, Any]
TAKEN = "the GPU was taken away before the work was done; try again"
MADE, FAILED = "made", "failed"  # the last event; those before have the name of who hears them
CALIBRATING, QUICK, LONG = 60, 120, 300  # seconds to ask for: who asks for more than is left gets no GPU


def on_zero_gpu() -> bool:
    """Whether the server lends GPUs, and can."""
    said = os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")
    return said and find_spec("spaces") is not None


def carry_out(
    work: Callable[..., T],
    *given: Any,
    seconds: int = CALIBRATING,
    asked: Mapping[str, Callable[[], bool] | None] | None = None,
    heard: Mapping[str, Callable[..., None] | None] | None = None,
    **options: Any,
) -> T:
    """`work(*given, **options, **asked, **heard)`, where GPUs are lent with one for so many `seconds`.

    `asked`: functions that `work` asks whether to end. `heard`: functions that it tells how far it is. It is
    a function of a module, and what it is given can be pickled. Raises what `work` does, and VitqError where
    no GPU is to be had.
    """
    asked, heard = asked or {}, heard or {}
    if _lent is None:
        return work(*given, **options, **asked, **heard)
    with tempfile.TemporaryDirectory() as folder:
        return _followed(work, given, options, seconds, asked, heard, Path(folder))


def _followed(
    work: Callable[..., T],
    given: tuple,
    options: Mapping[str, Any],
    seconds: int,
    asked: Mapping[str, Callable[[], bool] | None],
    heard: Mapping[str, Callable[..., None] | None],
    folder: Path,
) -> T:
    # By identity: a log of progress is false while it is empty.
    names = [[name for name, each in group.items() if each is not None] for group in (asked, heard)]
    kind, value = FAILED, vq.VitqError(TAKEN)
    try:
        for kind, value in _lent(work, _as_bytes((given, dict(options))), *names, folder, seconds):
            for name in names[0]:
                if asked[name]():
                    (folder / name).touch()
            if kind not in (MADE, FAILED):
                heard[kind](*value)
    except gr.Error as error:  # no GPU is free, or this visitor has had theirs
        raise vq.VitqError(str(error.message)) from error
    if kind != MADE:
        raise value if kind == FAILED else vq.VitqError(TAKEN)
    return _from_bytes(value, "cpu")


def _on_gpu(
    work: Callable[..., Any], given: bytes, asked: list[str], heard: list[str], folder: Path, seconds: int
) -> Iterator[Event]:
    """In the process that has the GPU: reports, and at last what was made or why it was not."""
    torch.set_num_threads(1)  # those of the server were not forked with it, and waiting for them never ends
    events: SimpleQueue[Event] = SimpleQueue()
    Thread(target=_work, args=(work, given, asked, heard, folder, events.put), daemon=True).start()
    while True:
        event = events.get()
        yield event
        if event[0] in (MADE, FAILED):
            return


def _work(
    work: Callable[..., Any],
    given: bytes,
    asked: list[str],
    heard: list[str],
    folder: Path,
    tell: Callable[[Event], None],
) -> None:
    try:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        arguments, options = _from_bytes(given, device)
        ends = {name: (folder / name).exists for name in asked}
        reports = {name: _reporter(name, tell) for name in heard}
        made = (MADE, _as_bytes(work(*arguments, **options, **ends, **reports)))
    except BaseException as error:
        made = (FAILED, _crossing(error))
    tell(made)


def _reporter(name: str, tell: Callable[[Event], None]) -> Callable[..., None]:
    return lambda *said: tell((name, said))


def _crossing(error: BaseException) -> Exception:
    """As it is where it survives the way."""
    try:
        return pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")


def _as_bytes(value: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def _from_bytes(made: bytes, device: str) -> Any:
    """Every tensor in it on this device."""
    return torch.load(io.BytesIO(made), map_location=device, weights_only=False)


def _seconds(work: Any, given: Any, asked: Any, heard: Any, folder: Any, seconds: int) -> int:
    return seconds


def _decorated() -> Callable[..., Iterator[Event]] | None:
    """None where no GPU is lent. It has to be there before the server starts, with CUDA untouched."""
    if not on_zero_gpu():
        return None
    import spaces

    return spaces.GPU(_on_gpu, duration=_seconds)


_lent = _decorated()
