"""The folder of an export, checked: it holds what was written, and only that is ever sent."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError

from ..common.digests import digest_of_files
from ..common.errors import VitqError
from ..common.files import given_path
from ..common.words import brief
from ..exporters.base import EXPORTERS, Exporter
from ..exporters.certificate import Certificate
from ..exporters.export import CERTIFICATE, README
from ..exporters.packed.container import DESCRIPTION, WEIGHTS, opened
from ..exporters.packed.rebuilding import DAMAGE

MARKS = (CERTIFICATE, DESCRIPTION)  # by which a repository is known as one of ours


@dataclass(frozen=True)
class Exported:
    """``file``: the one to be loaded. ``certificate``: None for what ``save_quantized`` wrote."""

    folder: Path
    exporter: Exporter
    file: Path
    certificate: Certificate | None

    @property
    def paths(self) -> list[Path]:
        """What an export writes and is there; whatever else lies in the folder is nobody's business."""
        names = dict.fromkeys((README, CERTIFICATE, *self.exporter.files))
        return [path for name in names if (path := self.folder / name).is_file()]

    @property
    def bytes(self) -> int:
        """Of what is loaded."""
        return self.file.stat().st_size if self.certificate is None else self.certificate.bytes


def known_files() -> set[str]:
    """The names of all that exports of any format write."""
    return {README, CERTIFICATE, *(name for exporter in EXPORTERS.values() for name in exporter.files)}


def exported(folder: str | Path) -> Exported:
    """Raises VitqError for a folder that neither ``export`` nor ``save_quantized`` wrote and for a file that
    is not the one that was certified, ValueError for what names no folder."""
    folder = given_path(folder, "folder", "folder")
    if (folder / CERTIFICATE).is_file():
        return _certified(folder)
    if not (folder / WEIGHTS).is_file():
        raise VitqError(
            f"{folder} holds no exported model: it has neither {CERTIFICATE} nor {WEIGHTS}; write one with "
            "vq.export or vq.save_quantized"
        )
    try:
        with opened(folder):  # which checks every sum
            pass
    except (*DAMAGE, OSError, SafetensorError) as error:
        raise VitqError(f"the quantized model in {folder} is damaged: {brief(error)}") from error
    return Exported(folder, EXPORTERS["packed"], folder / WEIGHTS, None)


def _certified(folder: Path) -> Exported:
    try:
        certificate = Certificate.from_json(json.loads((folder / CERTIFICATE).read_text()), folder)
        exporter, name = EXPORTERS[certificate.format], certificate.path.name
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise VitqError(f"{CERTIFICATE} in {folder} cannot be read ({brief(error)}); export again") from error
    path = folder / name
    certified = [path, *(folder / part for part in exporter.parts_of(name))]
    if name not in exporter.files or not all(each.is_file() for each in certified):
        raise VitqError(f"{folder} lacks {name!r:.80}, which its {CERTIFICATE} is of; export again")
    if digest_of_files(certified) != certificate.sha256:
        raise VitqError(
            f"{name} in {folder} is not the file that its {CERTIFICATE} is of (another SHA-256); export again"
        )
    return Exported(folder, exporter, path, certificate)
