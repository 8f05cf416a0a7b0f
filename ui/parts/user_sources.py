"""Which pictures a page may use: folders of this machine never where strangers use it."""

import os
from pathlib import Path
from typing import Any

from vitq_core.experiment import given_path, names_dataset
from vitq_core.experiment.folders import folder_source, upload_source
from vitq_core.experiment.generated import Generated
from vitq_core.experiment.measure import Cancel, Progress
from vitq_core.experiment.samples import Source, builtin_source

from .settings import RunSettings
from .visitors import public


def folders_allowed() -> bool:
    """Whether a page may name folders of this machine: not where strangers use it."""
    return not public()


def default_folder() -> str:
    return os.environ.get("VITQ_PICTURES", "") if folders_allowed() else ""


def choose_source(
    model: Any, settings: RunSettings, progress: Progress | None = None, cancel: Cancel | None = None
) -> Source:
    """The pictures that `settings` name; ValueError says what is wrong with them. Raises vq.Cancelled."""
    if settings.pictures == "folder":
        folder = _allowed(settings.folder)
        return folder_source(model, folder, progress, cancel, name=settings.folder)
    if settings.pictures == "uploads":
        return upload_source(model, [Path(path) for path in settings.uploads], progress, cancel)
    own = builtin_source(model)
    return Generated(model, own) if settings.pictures == "generated" else own


def check_uploads(settings: RunSettings) -> None:
    """ValueError where uploads of `settings` are gone: others took their room, or a day passed."""
    gone = [Path(path).name for path in settings.uploads if not Path(path).exists()]
    if settings.pictures == "uploads" and gone:
        more = f" (and {len(gone) - 1} more)" if len(gone) > 1 else ""
        raise ValueError(f"{gone[0]}{more} is no longer on the server; upload your pictures again.")


def _allowed(folder: str) -> str | Path:
    if not folders_allowed():
        raise ValueError("On a public server folders cannot be named; upload pictures instead.")
    return folder if names_dataset(folder) else given_path(folder, "the folder or zip of pictures")
