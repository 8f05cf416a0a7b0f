"""What a file says of itself: how the model was quantized, what it takes, what it was made of."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..models import Model
from ..quantized.result import QuantizeResult

KEY = "vitq"  # under which a file holds it


def about(result: QuantizeResult) -> dict[str, Any]:
    """JSON-ready; nothing of labels, preprocessing and origin where a bare module was quantized."""
    source = result.source
    return {
        "input_size": result.model.vitq.input_size,
        "recipe": json.loads(result.recipe.to_json()),
        "labels": None if source is None else source.labels,
        "preprocessing": None if source is None else asdict(source.preprocessing),
        "model": None if source is None else origin(source),
    }


def origin(model: Model) -> str:
    """What was quantized: of the hub, with the commit. How the folders of a machine lie is for nobody who
    gets the file."""
    source = model.info.source
    return Path(source).name if Path(source).is_absolute() else source
