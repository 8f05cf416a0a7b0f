"""Which pictures judge both models: drawn scenes, or a visitor's own photographs with known outlines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vitq_core.experiment import counted
from vitq_core.experiment.prompted import Counted, judging_photographs, judging_scenes
from vitq_core.experiment.runs import SCENES, UPLOADS

from ..parts.checks import one_of, refuse, whole
from ..parts.settings import is_zip

PLACES = {SCENES: "Drawn scenes", UPLOADS: "My photographs"}
MOST = 500  # pictures
NO_FILE = "Upload a .zip of photographs with COCO's json file of outlines in it."


@dataclass(frozen=True)
class Judging:
    """`pictures`: a key of `PLACES`; at most `count` of them."""

    pictures: str = SCENES
    count: int = 64
    file: str = ""

    @property
    def title(self) -> str:
        return counted(self.count, "scene" if self.pictures == SCENES else "photograph")

    def labelled(self) -> Counted:
        """The pictures with their objects. Raises ValueError for a file that holds none."""
        if self.pictures == SCENES:
            return judging_scenes(self.count)
        return judging_photographs(self.file, self.count)


def problems(values: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with a form's values, {field: a sentence}."""
    found = {
        "judges": one_of(values.get("judges"), PLACES),
        "count": whole(values.get("count"), 1, MOST),
        "file": _file(values.get("judges"), values.get("file")),
    }
    return {field: sentence for field, sentence in found.items() if sentence}


def from_form(values: Mapping[str, Any]) -> Judging:
    """ValueError for values with `problems`."""
    refuse(problems(values))
    own = values["judges"] == UPLOADS
    return Judging(values["judges"], int(values["count"]), values["file"] if own else "")


def _file(judges: Any, given: Any) -> str:
    if judges != UPLOADS or (isinstance(given, str) and is_zip([given])):
        return ""
    return NO_FILE
