"""The real studio in a process of its own, on this machine alone."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 120


@dataclass(frozen=True)
class Server:
    """`url` ends with a slash."""

    url: str
    process: subprocess.Popen

    def kill(self) -> None:
        """With SIGKILL: it has no time to tidy up."""
        self.process.kill()
        self.process.wait(timeout=20)


@contextmanager
def serving(
    command: list[str], home: Path, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """A studio that runs meanwhile; what it prints is added to `log`."""
    port = free_port()
    own = {"GRADIO_SERVER_PORT": str(port), "VITQ_PICTURES": "", "VITQ_HOME": str(home)}
    with log.open("a") as output:
        process = subprocess.Popen(
            [sys.executable, *command], cwd=ROOT, env={**os.environ, **own, **(environment or {})},
            stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            wait_until_up(f"http://127.0.0.1:{port}/", process, log)
            yield Server(f"http://127.0.0.1:{port}/", process)
        finally:
            process.terminate()
            process.wait(timeout=20)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until_up(url: str, process: subprocess.Popen, log: Path) -> None:
    """RuntimeError with the end of the log where it does not come."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"the studio did not start:\n{log.read_text()[-3000:]}")
