"""Answers clicks with the models beside this file: python run_it.py picture.jpg X Y [X Y …]

X and Y are pixels of the picture, one object inside which all of them lie; its mask is written to mask.png.
Needs onnxruntime, numpy and pillow.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

INSIDE, NO_POINT = 1, -1  # labels
SINGLE = 0  # the mask that answers several clicks; the others are candidates for one


def main() -> None:
    if len(sys.argv) < 4 or len(sys.argv) % 2:
        raise SystemExit(__doc__)
    encoder, decoder = (
        onnxruntime.InferenceSession(str(Path(__file__).with_name(f"{name}.onnx")))
        for name in ("encoder", "decoder")
    )
    side = json.loads(encoder.get_modelmeta().custom_metadata_map["vitq"])["input_size"][1]
    picture = ImageOps.exif_transpose(Image.open(sys.argv[1])).convert("RGB")
    scale = side / max(picture.size)
    size = tuple(int(length * scale + 0.5) for length in picture.size)
    small = np.asarray(picture.resize(size, Image.Resampling.BILINEAR), np.float32)
    (embedding,) = encoder.run(None, {"pictures": small.transpose(2, 0, 1)[None]})
    clicks = np.reshape([float(number) for number in sys.argv[2:]], (-1, 2)) * np.divide(size, picture.size)
    masks, ious = decoder.run(None, asked(clicks, embedding))
    chosen = 1 + ious[0, 1:].argmax() if len(clicks) == 1 else SINGLE
    logits = larger(masks[0, chosen], side, side)[: size[1], : size[0]]
    inside = larger(logits, picture.height, picture.width) > 0
    Image.fromarray(inside.astype(np.uint8) * 255).save("mask.png")
    print(f"mask.png: {inside.mean():.1%} of the picture, predicted IoU {ious[0, chosen]:.3f}")


def asked(clicks: np.ndarray, embedding: np.ndarray) -> dict[str, np.ndarray]:
    """Clicks [n, 2] as the decoder takes them: a point that is none follows, and no mask is given."""
    points = np.concatenate([clicks, [[0, 0]]])[None]
    labels = np.array([[INSIDE] * len(clicks) + [NO_POINT]])
    rows, columns = (4 * length for length in embedding.shape[2:])
    given = {"point_coords": points, "point_labels": labels, "mask_input": np.zeros((1, 1, rows, columns))}
    given["has_mask_input"] = np.zeros(1)
    return {"image_embeddings": embedding, **{name: each.astype(np.float32) for name, each in given.items()}}


def larger(logits: np.ndarray, height: int, width: int) -> np.ndarray:
    """[h, w] at another size, each pixel by a line between the two nearest rows and columns."""
    for axis, length in enumerate((height, width)):
        last = logits.shape[axis] - 1
        places = ((np.arange(length) + 0.5) * (last + 1) / length - 0.5).clip(0, last)
        before = places.astype(int)
        share = np.expand_dims((places - before).astype(np.float32), 1 - axis)
        low, high = (logits.take(index, axis) for index in (before, np.minimum(before + 1, last)))
        logits = low + share * (high - low)
    return logits


if __name__ == "__main__":
    main()
