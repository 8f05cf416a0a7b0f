"""Downloading a model of the Hugging Face hub into `VITQ_HOME`: its weights and what describes them, nothing
else.

Not with the hub's own client: that begins a file anew where it broke off, and cannot be cancelled. What it
has downloaded is found here, and what is downloaded here is laid down as it does. No token is sent: what
strangers may not have is not to be had through a server that may.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache

from ..common.errors import VitqError
from ..common.files import write_atomically
from ..common.home import vitq_home
from ..common.monitor import Monitor
from .download import MB, Busy, download
from .hub_errors import CONFIG, PICKLED, THE_HUB, WEIGHTS, MissingFile, Unreachable, of_client
from .hub_name import HubName

__all__ = ["CONFIG", "PICKLED", "WEIGHTS"]

SECONDS = 10
WAIT = 0.5  # seconds between two looks at a file that somebody else downloads
SMALL = 10 * MB  # of a config.json, at most; the hub keeps a SHA-256 of whatever is larger
SHA256, GIT = 64, 40  # digits of the two sums by which the hub knows files
DEFAULT_MB = 2000
Check = Callable[[bytes, str, int], tuple[str, ...]]


@dataclass(frozen=True)
class RemoteFile:
    """A file on the hub. `size` in bytes; `sum`: SHA-256 of a large file, Git's SHA-1 of a small one."""

    name: HubName  # whose revision is a commit
    filename: str
    address: str
    size: int
    sum: str

    @property
    def place(self) -> Path:
        """Where it is kept, or will be."""
        return folder_of(self.name) / self.filename


def fetch_model(name: HubName, monitor: Monitor, check: Check) -> Path:
    """The folder, called like its commit, with the weights of `name` and its config.json if it has one.

    Weights are model.safetensors, or else model.pth. What was downloaded before is used without a look at the
    network. `HF_ENDPOINT` names another hub, `VITQ_HUB_MB` how large a model may be. `check`(config.json,
    name of the file of weights, its bytes) raises where that is not worth downloading, and else names the
    small files that belong to it, where there are any. Raises VitqError with the reason when it cannot be
    had, Cancelled.
    """
    here = downloaded(name)
    if here is not None and (here / CONFIG).is_file():
        return here
    try:
        return _fetched(name, monitor, check)
    except Unreachable:
        # A repository without a config.json does not need the network for what is here.
        if here is None:
            raise
        return here


def downloaded(name: HubName) -> Path | None:
    """The folder of that revision where its weights are here, without a look at the network."""
    for filename in (WEIGHTS, PICKLED):
        found = try_to_load_from_cache(name.repo, filename, cache_dir=_kept(), revision=name.revision)
        if isinstance(found, str):
            return Path(found).parent
    return None


def folder_of(name: HubName) -> Path:
    """Of a commit."""
    return _kept(name.repo) / "snapshots" / name.revision


def remote_file(name: HubName, filename: str) -> RemoteFile:
    """A file as the hub describes it. MissingFile where there is none, VitqError where it cannot be asked."""
    endpoint = os.environ.get("HF_ENDPOINT") or None
    try:
        address = hf_hub_url(name.repo, filename, revision=name.revision, endpoint=endpoint)
        found = get_hf_file_metadata(address, token=False, timeout=SECONDS)
    except (
        Exception
    ) as error:  # the client lets errors of its HTTP library through, another one in each version
        raise of_client(error, name, filename) from error
    if found.size is None or len(found.etag or "") not in (SHA256, GIT):
        raise VitqError(f"{THE_HUB} does not say how large {filename} of {name.repo} is, and what its sum is")
    commit = found.commit_hash or name.revision
    return RemoteFile(name.at(commit), filename, found.location, found.size, found.etag)


def read_small(file: RemoteFile) -> bytes:
    """All of it, checked. VitqError where that cannot be."""
    if file.size > SMALL:
        raise VitqError(
            f"{file.filename} of {file.name.repo} has {file.size / MB:.0f} MB, which is too much for it"
        )
    try:
        with urlopen(file.address, timeout=SECONDS) as response:
            data = response.read(file.size + 1)
    except (OSError, HTTPException) as error:
        raise of_client(error, file.name, file.filename) from error
    if _sum_of(data, len(file.sum)) != file.sum:
        raise VitqError(f"{file.filename} of {file.name.repo} did not arrive as it is published; try again")
    return data


def size_limit() -> int:
    """How many bytes a model of the hub may have: `VITQ_HUB_MB`, in 10⁶ bytes. ValueError for no number."""
    given = os.environ.get("VITQ_HUB_MB") or str(DEFAULT_MB)
    if not given.isdecimal():
        raise ValueError(f"VITQ_HUB_MB must be a whole number of megabytes, got {given!r:.40}")
    return int(given) * MB


def check_size(repo: str, size: int) -> None:
    """VitqError for weights of more bytes than are allowed."""
    if size > size_limit():
        raise VitqError(
            f"{repo} is too large: its weights have {size / MB:,.0f} MB, and {size_limit() / MB:,.0f} MB are "
            "allowed here (VITQ_HUB_MB)"
        )


def _fetched(name: HubName, monitor: Monitor, check: Check) -> Path:
    config = _config(name)
    # The same commit for both files, even if somebody pushes in between.
    weights = _weights(name if config is None else config.name)
    check_size(name.repo, weights.size)
    if config is not None:
        said = read_small(config)
        for filename in check(said, weights.filename, weights.size):
            _get_small(config.name, filename)
        _store(config, said)
    _get(weights, monitor)
    remember(name, weights.name.revision)
    return weights.place.parent


def _config(name: HubName) -> RemoteFile | None:
    try:
        return remote_file(name, CONFIG)
    except MissingFile:
        return None  # weights may tell by themselves what they are


def _weights(name: HubName) -> RemoteFile:
    try:
        return remote_file(name, WEIGHTS)
    except MissingFile as missing:
        try:
            return remote_file(name, PICKLED)
        except MissingFile:
            raise missing from None


def _get_small(name: HubName, filename: str) -> None:
    """Where there is one: loading says what it misses."""
    with suppress(MissingFile):
        file = remote_file(name, filename)
        _store(file, read_small(file))


def _get(file: RemoteFile, monitor: Monitor) -> None:
    """Into its place."""
    if file.place.is_file():
        return
    if len(file.sum) == GIT:
        return _store(file, read_small(file))
    # Once for all commits that have the same weights.
    kept = _kept(file.name.repo) / "weights" / file.sum / file.filename
    _download(file, kept, monitor)
    write_atomically(_made(file.place), lambda path: _link(kept, path), file.filename)


def _download(file: RemoteFile, path: Path, monitor: Monitor) -> None:
    """Behind whoever downloads the same file."""
    while True:
        try:
            download(file.address, path, file.sum, file.size, monitor)
            return
        except Busy:
            monitor.report(0.0, f"Waiting: somebody else is downloading {file.filename} of {file.name.repo}")
            time.sleep(WAIT)


def _link(kept: Path, path: Path) -> None:
    """The same file under another name; a copy where the disk knows no such thing."""
    path.unlink()
    try:
        os.link(kept, path)
    except OSError:
        shutil.copyfile(kept, path)


def _store(file: RemoteFile, data: bytes) -> None:
    write_atomically(_made(file.place), lambda path: path.write_bytes(data), file.filename)


def remember(name: HubName, commit: str) -> None:
    """Which commit a branch or a tag is, for when the network is away."""
    if name.revision != commit:
        ref = _made(_kept(name.repo) / "refs" / name.revision)
        write_atomically(ref, lambda path: path.write_text(commit), "the revision")


def _made(path: Path) -> Path:
    with suppress(OSError):  # said when it is written
        path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _kept(repo: str = "") -> Path:
    """Of all models, or of one."""
    home = vitq_home() / "hub"
    return home / f"models--{repo.replace('/', '--')}" if repo else home


def _sum_of(data: bytes, digits: int) -> str:
    if digits == SHA256:
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
