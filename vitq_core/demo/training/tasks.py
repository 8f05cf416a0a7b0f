"""What a bundled model can be trained for, as data."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from ...common.files import replace_file
from ..scenes import HELD_OUT_SEED, LABELS, scene, scene_label
from .datasets import PictureSet, load_folder_split

TRAIN_SCENES, TRAIN_SEED = 24_000, 1
HELD_OUT_SCENES = 5_000
Pair = tuple[PictureSet, PictureSet]


@dataclass(frozen=True)
class Task:
    """What to learn and with which model: a registered timm architecture and the arguments that reshape it.

    `about` introduces the model to its users, `pooled` says what its head reads. Where all blocks need the
    whole map, it cannot learn with `drops_patches`. `norm` is (mean, std) of pixels in 0..1; `shift` the
    augmentation's largest shift in pixels; `load(out, data)` gives the training and the held-out pictures.
    """

    model: str
    about: str
    num_classes: int
    architecture: str
    model_args: dict = field(hash=False)
    norm: tuple
    shift: int
    load: Callable[[Path, str | None], Pair]
    pooled: str = "class token"
    drops_patches: bool = True


def _load_cifar10(out: Path, data: str | None) -> Pair:
    if data is None:
        raise ValueError("cifar10 needs --data, a folder or zip with train/<class>/… and test/<class>/…")
    return load_folder_split(Path(data), "train", 32), load_folder_split(Path(data), "test", 32)


def _load_scenes(out: Path, data: str | None) -> Pair:
    if data is not None:
        raise ValueError("scenes are drawn, not read; leave --data out")
    train = draw_scenes(TRAIN_SCENES, TRAIN_SEED, 64, out)
    return train, draw_scenes(HELD_OUT_SCENES, HELD_OUT_SEED, 64, out)


def draw_scenes(count: int, seed: int, size: int, cache: Path) -> PictureSet:
    """The first `count` scenes of `seed` as one set; drawn once, then read from the folder `cache`."""
    path = cache / f"scenes-seed{seed}-{count}x{size}.pt"
    if path.exists():
        return PictureSet(**torch.load(path, weights_only=True))
    images, masks = np.empty((count, size, size, 3), np.uint8), np.empty((count, 1, size, size), np.uint8)
    for i in range(count):
        drawn = scene(i, seed, size)
        images[i], masks[i] = drawn.image, 255 * drawn.objects[0].mask
    labels = torch.tensor([scene_label(i, seed) for i in range(count)])
    channels_first = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    pictures = PictureSet(channels_first, labels, LABELS, torch.from_numpy(masks))
    replace_file(path, lambda new: torch.save(vars(pictures), new))
    return pictures


TASKS = {
    "scenes": Task(
        model="demo-vit",
        about=(
            "A vision transformer of DeiT-Tiny's width, with eight blocks, that names the main object of a\n"
            "synthetic scene (64×64, drawn by `vitq_core.demo.scenes`: random pose, colour, texture,\n"
            "clutter, occlusion, light, blur and noise). Trained from scratch for VitQ Studio, on no\n"
            "photographs and from no other weights; its scenes are those of seed 1, the held-out ones those\n"
            "of seed 2."
        ),
        num_classes=len(LABELS),
        architecture="deit_tiny_patch16_224",
        model_args={"img_size": 64, "patch_size": 8, "embed_dim": 192, "depth": 8, "num_heads": 3},
        norm=((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
        shift=6,
        load=_load_scenes,
    ),
    "scenes-swin": Task(
        model="demo-swin",
        about=(
            "A small Swin with the four stages of the large ones: windows of 4×4, every second block\n"
            "shifted, heads of 32 channels, and a last stage whose map is one window. It names the main\n"
            "object of a synthetic scene (64×64, drawn by `vitq_core.demo.scenes`). Trained from scratch\n"
            "for VitQ Studio, on no photographs and from no other weights; its scenes are those of seed 1,\n"
            "the held-out ones those of seed 2."
        ),
        num_classes=len(LABELS),
        architecture="swin_tiny_patch4_window7_224",
        model_args={
            "img_size": 64,
            "patch_size": 2,
            "window_size": 4,
            "embed_dim": 32,
            "depths": [2, 2, 4, 2],
            "num_heads": [1, 2, 4, 8],
            "drop_path_rate": 0.0,
        },
        norm=((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
        shift=6,
        load=_load_scenes,
        pooled="mean of the last map",
        drops_patches=False,
    ),
    "cifar10": Task(
        model="cifar10-vit",
        about=(
            "A small vision transformer for CIFAR-10 (32×32 photographs of ten kinds of animals and\n"
            "vehicles), trained from scratch for VitQ Studio. The photographs are not part of this project."
        ),
        num_classes=10,
        architecture="vit_tiny_patch16_224",
        model_args={"img_size": 32, "patch_size": 4, "embed_dim": 192, "depth": 6, "num_heads": 3},
        norm=((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
        shift=3,
        load=_load_cifar10,
    ),
}
