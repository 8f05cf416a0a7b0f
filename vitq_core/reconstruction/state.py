"""A run on disk: one file per finished unit, so that a run that was killed goes on where it was."""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import IO

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..common.batch import Batch
from ..common.digests import bytes_of, digest_of
from ..common.errors import StorageError, VitqError
from ..common.files import given_path, write_atomically
from ..common.home import forget_abandoned, forget_beyond, vitq_home
from ..quantized.report import UnitRow

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None

VERSION = 2  # of what a unit's file means; part of the fingerprint
KEPT_RUNS, KEPT_BYTES = 32, 8 * 2**30  # of all runs that were killed, those in use not counted
ABANDONED = 30 * 24 * 3600  # seconds after which the state of a run that nobody resumed is deleted
RUN = "run.json"
CALIBRATED = "calibration"  # follows from the others, unless the program has changed


class RunState:
    """The folder of one run, a context. ``fingerprint``: of everything that decides its result, by name."""

    def __init__(self, folder: str | Path | None, fingerprint: dict[str, str]) -> None:
        """``folder`` None: one of its own in ``VITQ_HOME``, deleted by :meth:`finish`, or at the end of the
        context where no unit was finished. Where that one cannot be written, the run goes on without.

        A folder that the caller named: VitqError where it holds another run or cannot be written, ValueError
        for a file.
        """
        named = ready_folder(folder)
        self._own = named is None
        self.folder, self._lock = named, None
        if named is not None:
            self._claim(fingerprint)
            return
        try:
            self._open_own(fingerprint)
        except StorageError as error:
            self._go_on_without(error)

    def _open_own(self, fingerprint: dict[str, str]) -> None:
        folder = vitq_home() / "runs" / _name(fingerprint)
        forget_abandoned(folder.parent, "*", ABANDONED)
        others = [other for other in folder.parent.glob("*") if other != folder and not _in_use(other)]
        forget_beyond(others, KEPT_RUNS - 1, KEPT_BYTES)
        _open(folder)
        self.folder = folder
        self._claim(fingerprint)
        self._lock = _shared_lock(folder / RUN)

    def _go_on_without(self, error: StorageError) -> None:
        """Its result is the same; only a run that is killed cannot be resumed."""
        warnings.warn(f"{error}; the run goes on and cannot be resumed", stacklevel=3)
        self.finish()
        self.folder = None

    def __enter__(self) -> RunState:
        return self

    def __exit__(self, *error: object) -> None:
        if self._own and self.folder and not any(self.folder.glob("*.safetensors")):
            self.finish()
        self._let_go()

    def _let_go(self) -> None:
        if self._lock is not None:
            self._lock.close()

    def _claim(self, fingerprint: dict[str, str]) -> None:
        path = self.folder / RUN
        if path.is_file():
            other = _read_fingerprint(path)
            differing = [name for name, digest in fingerprint.items() if other.get(name) != digest]
            if differing:
                causes = [name for name in differing if name != CALIBRATED] or differing
                raise VitqError(
                    f"{self.folder} holds another run, with another {' and '.join(causes)}; name another "
                    f"folder, or delete its {RUN} and *.safetensors to begin anew"
                )
            return
        text = json.dumps({"fingerprint": fingerprint})
        write_atomically(path, lambda temporary: temporary.write_text(text), "the state of the run")

    def _file(self, index: int, unit: str) -> Path:
        return self.folder / f"{index:03d}-{unit}.safetensors"

    def save(self, index: int, row: UnitRow, tensors: dict[str, Tensor]) -> None:
        """Keep a finished unit, all of it or nothing. StorageError where a named folder refuses."""
        if self.folder is None:
            return
        tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        metadata = {"row": json.dumps(asdict(row)), "digest": digest_of(tensors)}

        def write(path: Path) -> None:
            try:
                save_file(tensors, path, metadata)
            except SafetensorError as error:
                raise OSError(str(error)) from error

        try:
            _open(self.folder)  # the same run in another program may have taken the folder with it at its end
            write_atomically(self._file(index, row.unit), write, f"the state of {row.unit}")
        except StorageError as error:
            if not self._own:
                raise
            self._go_on_without(error)

    def load(self, index: int, unit: str) -> tuple[UnitRow, dict[str, Tensor]] | None:
        """What :meth:`save` kept, or None. VitqError for a damaged file."""
        if self.folder is None:
            return None
        path = self._file(index, unit)
        if not path.is_file():
            return None
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata()
                data = json.loads(metadata["row"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            if data["unit"] != unit:
                raise ValueError(f"it is that of {data['unit']}")
            if metadata["digest"] != digest_of(tensors):
                raise ValueError("its numbers are not those that were written")
            return UnitRow(**{**data, "losses": tuple(data["losses"])}), tensors
        except (SafetensorError, OSError, LookupError, TypeError, ValueError) as error:
            raise VitqError(f"the state {path} is damaged; delete it: {error}") from error

    def finish(self) -> None:
        """The run is complete: its own folder goes, one that the caller named stays."""
        self._let_go()
        if self._own and self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)


def fingerprint(
    model: nn.Module,
    recipe_json: str,
    pictures: Iterable[Batch],
    seed: int,
    calibrated: nn.Module,
    completed_json: str,
) -> dict[str, str]:
    """What decides the result of a run, by name: what it was begun with, and what calibration made of that.

    ``calibrated``, ``completed_json``: the model with its quantizers, the recipe with all its bits.
    """
    seen = hashlib.sha256()
    for chunk in pictures:
        for tensor in chunk.tensors:
            if isinstance(chunk.args[0], list):  # in a batch of one size bytes say all, however it is cut up
                seen.update(str(tuple(tensor.shape)).encode())
            seen.update(bytes_of(tensor))
    return {
        "model": digest_of(model.state_dict()),
        "recipe": hashlib.sha256(recipe_json.encode()).hexdigest(),
        "set of pictures": seen.hexdigest(),
        "seed": str(seed),
        "version of torch or VitQ": f"{torch.__version__}, {VERSION}",
        CALIBRATED: digest_of(calibrated.state_dict()) + hashlib.sha256(completed_json.encode()).hexdigest(),
    }


def _shared_lock(path: Path) -> IO[str] | None:
    """Held while the run lives; the system gives it back where the program is killed."""
    if fcntl is None:
        return None
    try:
        file = path.open()
        fcntl.flock(file, fcntl.LOCK_SH)
    except OSError:  # no locks on this disk, or the same run in another program ended and took the folder
        return None
    return file


def _in_use(folder: Path) -> bool:
    """Whether a living program runs there; where the system has no locks, every run might be."""
    if fcntl is None:
        return True
    try:
        with (folder / RUN).open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # locked, or about to be: a run that begins has not written yet what it is
        return True
    return False


def _name(fingerprint: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(fingerprint, sort_keys=True).encode()).hexdigest()[:24]


def ready_folder(folder: object) -> Path | None:
    """Make it, where one is named. ValueError for what names no folder, StorageError where it cannot be."""
    if folder is None:
        return None
    path = given_path(folder, "state", "folder")
    if path.is_file():
        raise ValueError(f"state must be the name of a folder, got {folder!r:.80}")
    _open(path)
    return path


def _open(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"the state cannot be kept in {folder}: {error.strerror}",
            f"the state of the run cannot be kept: {error.strerror}",
        ) from error


def _read_fingerprint(path: Path) -> dict[str, str]:
    try:
        return dict(json.loads(path.read_text())["fingerprint"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise VitqError(f"{path} holds no state of a run; delete it: {error}") from error
