"""How a command ends: an exit code, and one sentence on stderr where it did not end well."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

FINE, FAILED, WRONG, INTERRUPTED = 0, 1, 2, 130
DEBUG = "VITQ_DEBUG"


class Ended(Exception):
    """Ends a command with `code`; the message is the sentence for people."""

    def __init__(self, code: int, said: str) -> None:
        super().__init__(said)
        self.code = code


def exit_code(work: Callable[[], object]) -> int:
    """What `work` comes to. Whatever it raises is said on stderr, in a sentence, and never as a traceback."""
    try:
        code = work()
        return code if isinstance(code, int) else FINE
    except (KeyboardInterrupt, typer.Abort):
        return _said(INTERRUPTED, "stopped")
    except Exception as error:
        if os.environ.get(DEBUG):
            traceback.print_exc()
        return _said(*_verdict(error))


@contextmanager
def reading_input() -> Iterator[None]:
    """What the engine refuses inside is wrong input and no work that failed: a damaged file, an unknown
    model.
    """
    import vitq_core as vq
    from vitq_core.experiment import Unreachable, WorkerLost

    try:
        yield
    except (vq.Cancelled, vq.StorageError, Unreachable, WorkerLost):
        raise
    except vq.VitqError as error:
        raise Ended(WRONG, str(error)) from error


def _verdict(error: Exception) -> tuple[int, str]:
    if isinstance(error, Ended):
        return error.code, str(error)
    if hasattr(error, "format_message"):  # the parser's own
        return WRONG, _with_help(error)
    if isinstance(error, ValueError):
        return WRONG, str(error)
    if isinstance(error, OSError):
        return FAILED, f"{error.filename}: {error.strerror}" if error.filename else str(error)
    if _is_engines(error):
        return FAILED, str(error)
    return FAILED, f"stopped by an unexpected {type(error).__name__}, {error}; {DEBUG}=1 shows where"


def _is_engines(error: Exception) -> bool:
    import vitq_core as vq

    return isinstance(error, vq.VitqError)


def _with_help(error: Exception) -> str:
    """The parser says what is wrong; where the right names stand is added."""
    said, context = error.format_message().rstrip("."), getattr(error, "ctx", None)
    return f"{said} (`{context.command_path} --help` lists what there is)" if context else said


def _said(code: int, said: str) -> int:
    line = " ".join(said.split()).encode("utf-8", "replace").decode()
    print(f"vitq: {line}" if line[-1:] in (".", "?", "!") else f"vitq: {line}.", file=sys.stderr)
    return code
