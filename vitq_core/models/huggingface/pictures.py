"""preprocessor_config.json of the transformers library as a Preprocessing."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...common.errors import VitqError
from ...common.words import brief
from ...pictures.preprocess import Preprocessing

PREPROCESSOR = "preprocessor_config.json"
# Pillow's numbers, which the library stores.
_RESAMPLING = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}
_SHORTER_EDGE = ("bit", "clip", "convnext")  # whose size, where it is one number, is the shorter side's


def read_pictures(folder: Path, name: str) -> dict[str, Any] | None:
    """The table in the folder's preprocessor_config.json; None without one, VitqError for a damaged one."""
    path = folder / PREPROCESSOR
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, OSError, RecursionError) as error:
        raise VitqError(f"the {PREPROCESSOR} of {name} is damaged: {brief(error)}") from error
    if not isinstance(found, dict):
        raise VitqError(f"the {PREPROCESSOR} of {name} must hold a table, got {found!r:.40}")
    return {key: value for key, value in found.items() if value is not None}


def preprocessing_of(table: Mapping[str, Any], default: tuple[int, int]) -> Preprocessing:
    """What the library's processor does with a picture; `default`: the size where it changes none.

    Raises ValueError, TypeError or KeyError for what has no like here.
    """
    if table.get("do_rescale", True) and not math.isclose(
        table.get("rescale_factor", 1 / 255), 1 / 255, rel_tol=1e-3
    ):
        raise ValueError(f"rescale_factor is {table['rescale_factor']!r:.40}; only 1/255 is known")
    size, share, mode = _resizing(table, default)
    normal = table.get("do_normalize", True)
    return Preprocessing(
        size=size,
        crop_pct=share,
        crop_mode=mode,
        interpolation=_RESAMPLING[table.get("resample", 2)],
        mean=table["image_mean"] if normal else (0.0, 0.0, 0.0),
        std=table["image_std"] if normal else (1.0, 1.0, 1.0),
    )


def _resizing(table: Mapping[str, Any], default: tuple[int, int]) -> tuple[tuple[int, int], float, str]:
    """(size, crop_pct, crop_mode): both sides are resized, or the shorter one and the middle is cut out."""
    crop = _sides(table["crop_size"]) if table.get("do_center_crop") else None
    if not table.get("do_resize", True):
        return crop or default, 1.0, "center"
    resized = table["size"]
    shorter = resized.get("shortest_edge") if isinstance(resized, Mapping) else None
    if shorter is None and isinstance(resized, int) and _takes_shorter_edge(table):
        shorter = resized
    if shorter is None:
        both = _sides(resized)
        return (both, 1.0, "squash") if crop is None else (crop, _share(crop[0], both[0]), "squash")
    if crop is None:
        raise ValueError(
            "it keeps the shape of every picture, so no size can be told; give size=224 or the like"
        )
    return crop, _share(min(crop), shorter), "center"


def _takes_shorter_edge(table: Mapping[str, Any]) -> bool:
    kind = str(table.get("image_processor_type", table.get("feature_extractor_type", ""))).lower()
    return kind.startswith(_SHORTER_EDGE)


def _sides(value: Any) -> tuple[int, int]:
    return (value["height"], value["width"]) if isinstance(value, Mapping) else (value, value)


def _share(cropped: int, resized: int) -> float:
    """timm resizes to the whole number below cropped / share, which must be `resized`."""
    if resized < cropped:
        raise ValueError(f"it cuts {cropped} pixels out of pictures of {resized}")
    share = cropped / resized
    return share if math.floor(cropped / share) == resized else cropped / (resized + 0.5)
