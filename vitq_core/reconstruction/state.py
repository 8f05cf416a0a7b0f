"""A run on disk: one file per finished unit, so that a run that was killed goes on where it was."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..errors import VitqError
from ..files import write_atomically
from ..home import forget_abandoned, vitq_home
from ..report import UnitRow

VERSION = 2  # of what a unit's file means; part of the fingerprint
ABANDONED = 30 * 24 * 3600  # seconds after which the state of a run that nobody resumed is deleted
RUN = "run.json"


class RunState:
    """The folder of one run. ``fingerprint``: of everything that decides its result."""

    def __init__(self, folder: str | Path | None, fingerprint: str) -> None:
        """``folder`` None: one of its own in ``VITQ_HOME``, deleted by :meth:`finish`.

        Raises VitqError for a folder that holds another run or cannot be written, ValueError for a file.
        """
        check_folder(folder)
        self._own = folder is None
        self.folder = vitq_home() / "runs" / fingerprint[:24] if folder is None else Path(folder)
        if self._own:
            forget_abandoned(self.folder.parent, "*", ABANDONED)
        self._open()
        self._claim(fingerprint)

    def _open(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise VitqError(f"the state cannot be kept in {self.folder}: {error.strerror}") from error

    def _claim(self, fingerprint: str) -> None:
        path = self.folder / RUN
        if path.is_file():
            if _read_fingerprint(path) != fingerprint:
                raise VitqError(
                    f"{self.folder} belongs to another run (model, recipe, pictures or seed differ); "
                    "delete it or name another folder"
                )
            return
        text = json.dumps({"fingerprint": fingerprint})
        write_atomically(path, lambda temporary: temporary.write_text(text), "the state of the run")

    def _file(self, index: int, unit: str) -> Path:
        return self.folder / f"{index:03d}-{unit}.safetensors"

    def save(self, index: int, row: UnitRow, tensors: dict[str, Tensor]) -> None:
        """Keep a finished unit, all of it or nothing. VitqError where that cannot be."""
        tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        metadata = {"row": json.dumps(asdict(row)), "digest": _digest(tensors)}

        def write(path: Path) -> None:
            try:
                save_file(tensors, path, metadata)
            except SafetensorError as error:
                raise OSError(str(error)) from error

        self._open()  # the same run in another program may have finished and taken the folder with it
        write_atomically(self._file(index, row.unit), write, f"the state of {row.unit}")

    def load(self, index: int, unit: str) -> tuple[UnitRow, dict[str, Tensor]] | None:
        """What :meth:`save` kept, or None. VitqError for a damaged file."""
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
            if metadata["digest"] != _digest(tensors):
                raise ValueError("its numbers are not those that were written")
            return UnitRow(**{**data, "losses": tuple(data["losses"])}), tensors
        except (SafetensorError, OSError, LookupError, TypeError, ValueError) as error:
            raise VitqError(f"the state {path} is damaged; delete it: {error}") from error

    def finish(self) -> None:
        """The run is complete: its own folder goes, one that the caller named stays."""
        if self._own:
            shutil.rmtree(self.folder, ignore_errors=True)


def fingerprint(module: nn.Module, recipe_json: str, pictures: Iterable[Tensor], seed: int) -> str:
    """Of the calibrated model (its pictures, quantizers and weights), the recipe and the seed."""
    digest = hashlib.sha256(json.dumps([VERSION, torch.__version__, recipe_json, seed]).encode())
    digest.update(_digest(module.state_dict()).encode())
    for chunk in pictures:
        digest.update(_bytes(chunk))
    return digest.hexdigest()


def _digest(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data


def check_folder(folder: object) -> None:
    """ValueError for what is no name of a folder; None is none."""
    if folder is None:
        return
    if not isinstance(folder, (str, Path)) or not str(folder) or Path(folder).is_file():
        raise ValueError(f"state must be the name of a folder, got {folder!r:.80}")


def _read_fingerprint(path: Path) -> str:
    try:
        return json.loads(path.read_text())["fingerprint"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise VitqError(f"{path} holds no state of a run; delete it: {error}") from error
