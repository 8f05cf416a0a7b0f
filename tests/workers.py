"""Real processes as torchrun starts them, on this machine, for tests."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from torch.distributed import HashStore

from vitq_core.common.processes import Group
from vitq_core.common.processes.board import Board, Seat
from vitq_core.common.processes.watch import Watch

T = TypeVar("T")

TIMEOUT = 180  # seconds
ROOT = Path(__file__).parents[1]
BEGIN = f"""
import json, os, signal, sys
sys.path.insert(0, {str(ROOT)!r})
from vitq_core.common.errors import VitqError
from vitq_core.common.processes import joined

def told(work):
    try:
        with joined(patience=20) as group:
            work(group)
    except (VitqError, ValueError) as error:
        print("SAID:", error, file=sys.stderr)
        sys.exit(1)
"""


@dataclass(frozen=True)
class Ended:
    """``codes``: exit codes; ``stderr``: of all workers."""

    codes: list[int]
    stderr: str

    @property
    def said(self) -> list[str]:
        """What people would read of the workers themselves."""
        return [line[6:] for line in self.stderr.splitlines() if line.startswith("SAID: ")]


def torchrun(folder: Path, script: str, *arguments: object, workers: int = 2) -> Ended:
    """``script``, which may use `told`, run by so many workers; `SAID:` is what people would read."""
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        str(workers),
    ]
    ended = subprocess.run(
        [*command, _written(folder, script), *map(str, arguments)], capture_output=True, text=True,
        timeout=TIMEOUT, env=_environment(),
    )  # fmt: skip
    return Ended([ended.returncode], ended.stderr)


def started(folder: Path, script: str, *arguments: object, workers: int = 2) -> Ended:
    """The same with torchrun's variables set by hand: one process less, and nobody ends the others."""
    path, port = _written(folder, script), free_port()
    group = {"WORLD_SIZE": str(workers), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    children = [
        subprocess.Popen(
            [sys.executable, path, *map(str, arguments)], stderr=subprocess.PIPE, text=True,
            env={**_environment(), **group, "RANK": str(rank)},
        )
        for rank in range(workers)
    ]  # fmt: skip
    try:
        heard = [child.communicate(timeout=TIMEOUT)[1] for child in children]
    finally:
        for child in children:
            child.kill()
    return Ended([child.returncode for child in children], "".join(heard))


def _written(folder: Path, script: str) -> str:
    path = folder / "script.py"
    path.write_text(BEGIN + script)
    return str(path)


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "TORCHELASTIC_USE_AGENT_STORE": "False"}


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def in_threads(size: int, work: Callable[[Group], T]) -> list[T]:
    """What ``work`` gives for each worker of a group that is threads of this process. One that fails ends
    the others, as the watching threads of real workers see to."""
    board, seats = Board(HashStore()), [Seat.own()] * size
    watches = [Watch(board, rank, seats, patience=60) for rank in range(size)]

    def one(watch: Watch) -> T:
        group = Group(watch.rank, size, watch)
        try:
            with group.answering():
                return work(group)
        except BaseException:
            for other in watches:
                other.trouble = other.trouble or watch.trouble
            raise

    with ThreadPoolExecutor(size) as pool:
        return [ended.result() for ended in [pool.submit(one, watch) for watch in watches]]
