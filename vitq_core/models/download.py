"""Downloading one large file: begun again where it broke off, checked as a whole, in place only then."""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from ssl import SSLError
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from filelock import FileLock, Timeout

from ..common.errors import Cancelled, StorageError, VitqError
from ..common.monitor import Monitor

SECONDS = 10  # without an answer, or without a byte more
PIECE = 2**20  # bytes
MB = 10**6
PART, LOCK = ".part", ".lock"


class Busy(VitqError):
    """Another program, or another visitor, downloads the same file."""


def download(address: str, path: Path, sha256: str, size: int, monitor: Monitor) -> Path:
    """`path`, fetched from `address` unless it is there. What broke off before is gone on with.

    `size`: about how many bytes, until the server says so. Raises VitqError where it cannot be had or is not
    the file whose `sha256` is given, StorageError for a disk that is full, and Cancelled.
    """
    if path.is_file():
        return path
    part = path.with_name(path.name + PART)
    with _storing(path), _alone(path), _kept_when_cancelled(path.name):
        _fetch(address, part, size, monitor)
        monitor.report(1.0, f"Checking {path.name}")
        _check_sum(part, sha256, address)
        part.replace(path)
    return path


def _fetch(address: str, part: Path, size: int, monitor: Monitor) -> None:
    """All of it into `part`, whose beginning may be there."""
    begun = part.stat().st_size if part.exists() else 0
    _tell(monitor, part, begun, max(size, begun))
    with _answer(address, begun, part, size) as response:
        if response is None:
            return
        if response.status != 206:  # the server sends the whole file
            begun = 0
        length = response.headers.get("Content-Length")
        total = begun + int(length) if length and length.isdigit() else None
        _check_room(part, (total or size) - begun)
        _receive(response, part, begun, total or size, monitor)
    if total is not None and part.stat().st_size < total:
        raise _broken_off(part, total)


@contextmanager
def _answer(address: str, begun: int, part: Path, size: int) -> Iterator[HTTPResponse | None]:
    """The server's, for what comes after `begun` bytes; None where nothing does."""
    headers = {"Range": f"bytes={begun}-"} if begun else {}
    try:
        with urlopen(Request(address, headers=headers), timeout=SECONDS) as response:
            yield response
    except HTTPError as error:
        with error:
            if error.code != 416:
                raise _refused(address, part, error.code) from error
        yield None  # there is nothing after `begun`: the sum will tell whether it is the file
    except (URLError, ValueError) as error:
        raise _unreachable(address, part, size) from error
    except (HTTPException, TimeoutError, ConnectionError, SSLError) as error:
        raise _broken_off(part, size) from error


def _receive(response: HTTPResponse, part: Path, begun: int, total: int, monitor: Monitor) -> None:
    """As it comes, so that a slow line can be cancelled; told of at every megabyte."""
    told = begun
    with part.open("ab" if begun else "wb") as file:
        while piece := response.read1(PIECE):
            file.write(piece)
            begun += len(piece)
            monitor.check()
            if begun - told >= PIECE or begun == total:
                told = begun
                _tell(monitor, part, begun, total)


def _tell(monitor: Monitor, part: Path, done: int, total: int) -> None:
    said = f"Downloading {_name(part)}: {done / MB:.0f} of {total / MB:.0f} MB"
    monitor.report(done / max(total, 1), said)


def _check_sum(part: Path, expected: str, address: str) -> None:
    """Deletes what is another file: it would never become the right one."""
    digest = hashlib.sha256()
    with part.open("rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    if digest.hexdigest() != expected:
        part.unlink()
        raise VitqError(
            f"what {_host(address)} sent is not the published {_name(part)} (its SHA-256 is "
            f"{digest.hexdigest()[:8]}…, not {expected[:8]}…); it was deleted, try again"
        )


def _check_room(part: Path, needed: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if needed > free:
        said = f"{needed / MB:.0f} MB are needed and {free / MB:.0f} MB are free"
        raise StorageError(f"there is no room for {_name(part)} in {part.parent}: {said}", said)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Two programs must not write into one beginning. The lock goes with the program that holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(path.name + LOCK))
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise Busy(
            f"another program is downloading {path.name} just now; try again when it is done"
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _kept_when_cancelled(name: str) -> Iterator[None]:
    try:
        yield
    except Cancelled:
        raise Cancelled(f"cancelled; the next download of {name} goes on from here") from None


@contextmanager
def _storing(path: Path) -> Iterator[None]:
    """Errors of the disk; those of the network are sentences already."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or "the disk refused"
        raise StorageError(
            f"{path.name} cannot be written to {path.parent}: {reason}",
            f"{path.name} cannot be stored: {reason}",
        ) from error


def _refused(address: str, part: Path, status: int) -> VitqError:
    later = "; try again later" if status >= 500 else ""
    return VitqError(f"{_host(address)} did not give {_name(part)} (error {status}){later}")


def _unreachable(address: str, part: Path, size: int) -> VitqError:
    return VitqError(
        f"{_name(part)} ({size / MB:.0f} MB) is not downloaded yet and {_host(address)} cannot "
        "be reached; pick a bundled model to work offline, or give the path of a file that you have"
    )


def _broken_off(part: Path, total: int) -> VitqError:
    done = part.stat().st_size if part.exists() else 0
    return VitqError(
        f"the download of {_name(part)} broke off after {done / MB:.0f} of "
        f"{total / MB:.0f} MB; try again, it goes on from there"
    )


def _name(part: Path) -> str:
    """Of the file that it becomes; an address may end with something else."""
    return part.name.removesuffix(PART)


def _host(address: str) -> str:
    return urlsplit(address).hostname or address
