"""What a visitor's export becomes on the Hugging Face hub: its files, with a model card."""

from __future__ import annotations

import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import vitq_core as vq
from vitq_core.experiment import vitq_home
from vitq_core.experiment.measure import Progress

from ..parts.checks import refuse
from ..parts.jobs import Job
from ..running.sources import Published

GONE = "This result is no longer in memory; compute it again and export it, then publish it."
NO_NAME = "Type a name, such as my-small-vit or user/my-small-vit."
NO_LICENCE = "Choose one: what is known of this model does not say its own."
SWITCH = "Send true or false."
LONGEST = 200  # characters of a name or a licence


class Shown(Protocol):
    """What is on the page: a zip at `path` of what `vq.export` or `vq.save_quantized` wrote of `settings`."""

    settings: Any
    path: Path


class Results(Protocol):
    def published(self, settings: Any) -> Published | None:
        """None where the result is no longer in memory."""


@dataclass(frozen=True)
class Wish:
    """`licence`: empty for the base model's. All three come from a page, or a program that plays one."""

    name: Any
    licence: Any
    private: Any

    @property
    def wrong(self) -> dict[str, str]:
        """{field: what is wrong with it}."""
        found = {}
        if not isinstance(self.name, str) or not self.name.strip() or len(self.name) > LONGEST:
            found["Name"] = NO_NAME
        if not isinstance(self.licence or "", str) or len(self.licence or "") > LONGEST:
            found["Licence"] = NO_LICENCE
        if not isinstance(self.private, bool):
            found["Private"] = SWITCH
        return found


def publish(
    results: Results, shown: Shown | None, wish: Wish, token: str, progress: Progress, job: Job
) -> str:
    """Its address. The token is the visitor's; without one nothing is sent, whoever this server belongs to.

    ValueError for what cannot be asked for, vq.VitqError with what the hub says, vq.Cancelled.
    """
    refuse(wish.wrong)
    found = None if shown is None else results.published(shown.settings)
    if found is None or not shown.path.exists():
        raise ValueError(GONE)
    licence = (wish.licence or "").strip() or vq.licence_of(found.result)
    refuse({} if licence else {"Licence": NO_LICENCE})
    with tempfile.TemporaryDirectory(dir=vitq_home(), prefix="publish-") as made:
        folder = _unpacked(shown.path, Path(made))
        vq.write_model_card(
            folder, found.result, found.evaluation, found.reference, licence=licence,
            tested_on=found.tested_on, calibrated_on=found.calibrated_on,
        )  # fmt: skip
        # An empty token, not None: that would be the one that this server's owner is signed in with.
        return vq.push_to_hub(folder, wish.name.strip(), token, wish.private, progress, job)


def _unpacked(path: Path, place: Path) -> Path:
    """The folder that is in the zip."""
    with zipfile.ZipFile(path) as archive:
        archive.extractall(place)
    return next(place.rglob("README.md")).parent
