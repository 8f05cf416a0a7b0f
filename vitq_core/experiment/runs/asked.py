"""What a run was asked for: everything that decides its numbers, and that is enough to run it again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...recipes.recipe import Recipe

OWN, FOLDER, UPLOADS, SCENES = "own", "folder", "uploads", "scenes"
GENERATED = "generated"


@dataclass(frozen=True)
class Asked:
    """`model` as `load_model` takes it. `calibration` pictures measure ranges, `judged` ones the result.

    `pictures`: OWN (what comes with the studio for this model), FOLDER or UPLOADS, whose `places` are named,
    GENERATED (made from noise to calibrate on, judged by OWN), or SCENES with prompts, for Segment Anything.
    """

    model: str
    recipe: Recipe
    calibration: int
    judged: int
    seed: int = 0
    pictures: str = OWN
    places: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; :meth:`from_dict` gives an equal one back."""
        return {**vars(self), "recipe": json.loads(self.recipe.to_json()), "places": list(self.places)}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Asked:
        """ValueError for what :meth:`as_dict` did not give."""
        try:
            recipe = Recipe.from_json(json.dumps(stored["recipe"]))
            return cls(**{**stored, "recipe": recipe, "places": tuple(stored["places"])})
        except (LookupError, TypeError) as error:
            raise ValueError(f"this does not say what a run was asked for: {error}") from error

    def key(self, model_digest: str, pictures: tuple) -> str:
        """The same for runs that give the same numbers. `pictures`: the `key` of their source."""
        decides = {**self.as_dict(), "places": None, "model": model_digest, "pictures": repr(pictures)}
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:32]
