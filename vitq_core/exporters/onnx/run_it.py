"""Runs the model beside this file: python run_it.py picture.jpg   (needs onnxruntime, numpy, pillow)"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

BEST = 5


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    session = onnxruntime.InferenceSession(str(Path(__file__).with_name("model.onnx")))
    about = json.loads(session.get_modelmeta().custom_metadata_map["vitq"])
    pictures = prepared(Image.open(sys.argv[1]), **about["preprocessing"])
    (output,) = session.run(None, {session.get_inputs()[0].name: pictures})
    if about["labels"] is None:
        print(output)
        return
    chances = np.exp(output[0] - output[0].max())
    chances /= chances.sum()
    for index in np.argsort(-chances, kind="stable")[:BEST]:
        print(f"{100 * chances[index]:5.1f} %  {about['labels'][index]}")


def prepared(
    picture: Image.Image,
    size: list[int],
    crop_pct: float,
    interpolation: str,
    mean: list[float],
    std: list[float],
    crop_mode: str,
) -> np.ndarray:
    """Upright, resized, cropped and normalised as the model expects it: float32 [1, 3, height, width]."""
    picture = ImageOps.exif_transpose(picture).convert("RGB")
    picture = picture.resize(resized(picture.size, size, crop_pct, crop_mode), resampling(interpolation))
    left, top = (round((given - kept) / 2) for given, kept in zip(picture.size, size[::-1], strict=True))
    picture = picture.crop((left, top, left + size[1], top + size[0]))
    pixels = np.asarray(picture, np.float32) / 255
    normal = (pixels - np.float32(mean)) / np.float32(std)
    return normal.transpose(2, 0, 1)[None]


def resampling(interpolation: str) -> Image.Resampling:
    return getattr(Image.Resampling, interpolation.upper())


def resized(given: tuple[int, int], size: list[int], crop_pct: float, crop_mode: str) -> tuple[int, int]:
    """(width, height) before the crop: its shorter side, or in `squash` both, as the crop takes them."""
    height, width = (int(side / crop_pct) for side in size)
    if crop_mode == "squash":
        return width, height
    if crop_mode == "center" and height == width:
        short = min(given)
        return tuple(height if side == short else int(height * side / short) for side in given)
    raise SystemExit(f"prepare pictures as timm does with crop mode {crop_mode!r} and size {size}")


if __name__ == "__main__":
    main()
