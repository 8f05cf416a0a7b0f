"""Joining the group that ``torchrun`` started, and leaving it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from torch.distributed.rendezvous import rendezvous

from ..errors import VitqError
from .board import Board, BoardLost, Seat
from .group import ALONE, POLL, Group
from .watch import BEAT, LEFT, Watch

NAMES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
PATIENCE = 30.0  # seconds without a sign of life
COMING = 300.0  # seconds in which all must have come
HEARD = 3 * BEAT  # seconds in which the others hear what is wrong, from a store that may end with the first


@contextmanager
def joined(patience: float = PATIENCE, coming: float = COMING) -> Iterator[Group]:
    """The group that ``torchrun``, or whatever sets its variables (RANK, WORLD_SIZE, MASTER_ADDR,
    MASTER_PORT), started; where none is set, a group of one.

    ``patience``: seconds without a sign of life after which a worker counts as dead. ``coming``: seconds in
    which all must have come. Where a worker dies or fails, every other one ends: the first raises WorkerLost
    with that one's name, or its own error, which is the one to show people; the others end with exit code 1.
    Raises VitqError for variables that name no group, and where a worker does not come.
    """
    size = _size(os.environ)
    if size == 1:
        yield ALONE
        return
    board, rank = _meeting(coming, size)
    watch = Watch(board, rank, _seats(board, rank, size, coming), patience)
    group = Group(rank, size, watch)
    watch.start()
    try:
        with _hearing_signals(watch), _heard_by_others(group), group.answering():
            yield group
            _leave(group, watch)
    except BaseException as error:
        if not group.first and isinstance(error, (VitqError, ValueError)) and not watch.speaks():
            raise SystemExit(1) from error
        raise
    finally:
        watch.end()


def _size(given: Mapping[str, str]) -> int:
    missing = [name for name in NAMES if name not in given]
    if len(missing) == len(NAMES) or given.get("WORLD_SIZE") == "1":
        return 1
    if "RANK" in missing and "WORLD_SIZE" in missing:
        return 1  # addresses alone are left over from something else
    if missing:
        raise VitqError(
            f"workers need {', '.join(NAMES)}, and {missing[0]} is not set; start them by torchrun"
        )
    try:
        rank, size = int(given["RANK"]), int(given["WORLD_SIZE"])
    except ValueError:
        rank, size = 0, 0
    if not 0 <= rank < size:
        raise VitqError(
            f"RANK must be from 0 to WORLD_SIZE - 1, got {given['RANK']!r:.20} of {given['WORLD_SIZE']!r:.20}"
        )
    return size


def _meeting(coming: float, size: int) -> tuple[Board, int]:
    try:
        store, rank, _ = next(rendezvous("env://", timeout=timedelta(seconds=coming)))
    except (RuntimeError, ValueError) as error:
        place = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        raise VitqError(
            f"the other {size - 1} workers were not reached at {place} within {coming:g} seconds; "
            "MASTER_ADDR must name the machine of worker 0, and its port must be open"
        ) from error
    return Board(store), rank


def _seats(board: Board, rank: int, size: int, coming: float) -> list[Seat]:
    """Of all, once each has come. VitqError names one that does not."""
    until = time.monotonic() + coming
    try:
        board.put(f"alive/{rank}", "0 0")
        board.put(f"seat/{rank}", Seat.own().text())
        return [Seat.read(_awaited(board, other, size, until, coming)) for other in range(size)]
    except BoardLost as error:
        raise VitqError(f"worker 0 of {size} was lost while the others came: {error}") from error


def _awaited(board: Board, rank: int, size: int, until: float, coming: float) -> str:
    while (found := board.read(f"seat/{rank}")) is None:
        if time.monotonic() > until:
            raise VitqError(f"worker {rank} of {size} did not come within {coming:g} seconds")
        time.sleep(POLL)
    return found


def _leave(group: Group, watch: Watch) -> None:
    """Nobody leaves before all are done, and the first, who may keep the store, leaves last."""
    group.together("", lambda _: "")
    watch.end()
    try:
        watch.board.put(f"alive/{group.rank}", LEFT)
        until = time.monotonic() + watch.patience
        others = [f"alive/{rank}" for rank in range(1, group.size)] if group.first else []
        while {*watch.board.all(others)} - {LEFT} and time.monotonic() < until:
            time.sleep(POLL)
    except BoardLost:
        pass  # all is done


@contextmanager
def _heard_by_others(group: Group) -> Iterator[None]:
    """The first worker waits where something is wrong. Signals are heard meanwhile: torchrun tells it to end
    as soon as another one has, and its sentence would be lost."""
    try:
        yield
    except BaseException:
        if group.first:
            time.sleep(HEARD)
        raise


@contextmanager
def _hearing_signals(watch: Watch) -> Iterator[None]:
    """torchrun ends the others where a worker died: time enough to say which."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def told(number: int, frame: Any) -> None:
        watch.told_to_end()

    before = signal.signal(signal.SIGTERM, told)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
