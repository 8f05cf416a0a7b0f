"""A network with what is needed to use it, and how a module in memory becomes one."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from PIL import Image
from segment_anything.modeling import Sam
from torch import nn

from ..common.modes import evaluating
from ..pictures.longest_side import LongestSide
from ..pictures.preprocess import Preprocessing, default_crop
from ..tasks import classes_of, task_of
from .catalogue import SEGMENTATION, ModelInfo

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# What wrap_model takes for a classifier where nothing is said.
DEFAULTS = {
    "labels": None, "mean": IMAGENET_MEAN, "std": IMAGENET_STD, "size": None, "crop_pct": None,
    "interpolation": "bicubic",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Model:
    """A network with what is needed to use it.

    `module` maps [B, 3, H, W] to logits [B, classes], or to features where it has no head (`info.task`);
    `preprocess(picture)` makes its [3, H, W]; `labels` names the classes if they are known;
    `load_model(info.id)` gives it again unless it was made in memory.

    Where the task is "segmentation", `module` is a `Sam` of the `segment-anything` package, which takes
    records of pictures and prompts; `preprocess(picture)` makes a record's `image` [3, h, w] of 0..255.
    """

    module: nn.Module = field(repr=False)
    preprocessing: Preprocessing | LongestSide
    labels: list[str] | None = field(repr=False)
    info: ModelInfo

    @property
    def preprocess(self) -> Preprocessing | LongestSide:
        """PIL picture → float tensor [3, H, W]: normalised, or for a `Sam` 0..255."""
        return self.preprocessing

    @property
    def classes(self) -> int:
        """How many classes it tells apart; 0 where it has no head, or does not show one."""
        return classes_of(self.module) or 0

    def predict(self, picture: Image.Image) -> Any:
        """The answer for one picture, worked out on the model's own device.

        Classification: the five most probable [(label, probability)], best first. Features: a tensor [D].
        Raises ValueError for what is no picture and for a model that answers prompts, VitqError for outputs
        that are not finite.
        """
        if self.info.task == SEGMENTATION:
            raise ValueError(
                "predict takes no prompts, and Segment Anything answers nothing else; give clicks or boxes "
                "to SamPredictor(model.module) of the segment-anything package"
            )
        if not isinstance(picture, Image.Image):
            raise ValueError(f"predict takes a PIL picture, got {type(picture).__name__}")
        task = task_of(self.module, self)
        batch = task.collate(self.preprocess(picture)[None]).on(self.module)
        with evaluating(self.module), torch.no_grad():
            outputs = task.run(self.module, batch)
        return task.present(outputs, self.labels)


def wrap_model(
    module: nn.Module,
    labels: Sequence[str] | None = None,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    size: int | tuple[int, int] | None = None,
    crop_pct: float | None = None,
    interpolation: str = "bicubic",
    device: str | torch.device | None = None,
) -> Model:
    """A module in memory as a Model; it is put in evaluation mode, moved to `device` if one is named, and
    otherwise left as it is.

    `size` in pixels, or (height, width), is read from `module.patch_embed.img_size` where that exists;
    `crop_pct` is 0.875, or 1 below 128 pixels. A `Sam` takes none of these: it has no classes, and prepares
    pictures itself. Raises ValueError for what does not fit.
    """
    if not isinstance(module, nn.Module):
        raise ValueError(f"wrap_model takes a torch.nn.Module, got {type(module).__name__}")
    if isinstance(module, Sam):
        refuse_for_sam(
            labels=labels, mean=mean, std=std, size=size, crop_pct=crop_pct, interpolation=interpolation
        )
        move(module, checked_device(device))
        return sam_model(module, _in_memory(module, SEGMENTATION))
    _check_channels(module)
    pixels = size if size is not None else _input_size(module)
    preprocessing = Preprocessing(size=pixels, interpolation=interpolation, mean=mean, std=std)
    check_size(preprocessing.size, module)
    preprocessing = _with_crop(preprocessing, crop_pct)
    labels, info = checked_labels(labels, module), _in_memory(module, task_of(module).name)
    move(module, checked_device(device))
    return Model(module.eval(), preprocessing, labels, info)


def sam_model(module: Sam, info: ModelInfo) -> Model:
    """A `Sam` as a Model, in evaluation mode. ValueError for an image encoder that names no picture size."""
    side = getattr(module.image_encoder, "img_size", None)
    if side is None:
        kind = type(module.image_encoder).__name__
        raise ValueError(f"the Sam's image encoder, {kind}, does not say its picture size as img_size")
    info = replace(info, task=SEGMENTATION, params=count_params(module))
    return Model(module.eval(), LongestSide(side), None, info)


def refuse_for_sam(**given: Any) -> None:
    """ValueError for what is `given` beside its defaults, or None, and does not apply to a `Sam`."""
    # By identity: what was given may be an array, whose == is no yes or no.
    unused = [name for name, value in given.items() if value is not None and value is not DEFAULTS.get(name)]
    if unused:
        raise ValueError(
            f"Segment Anything has no classes and prepares pictures itself; leave out {', '.join(unused)}"
        )


def _in_memory(module: nn.Module, task: str) -> ModelInfo:
    name = type(module).__name__
    return ModelInfo(name, name, task, count_params(module), False, "memory", "A model given in memory.")


def checked_device(device: object) -> torch.device | None:
    """ValueError for what names no device of this machine."""
    if device is None:
        return None
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:
        raise ValueError(
            f"device must be one of this machine's, such as 'cpu', got {device!r:.80}"
        ) from error


def move(module: nn.Module, device: torch.device | None) -> None:
    if device is not None:
        module.to(device)


def fixed_size(module: nn.Module) -> tuple[int, int] | None:
    """(height, width) of the only pictures that `module` takes, None where it takes others too."""
    embed = getattr(module, "patch_embed", None)
    fixed = getattr(embed, "img_size", None) if getattr(embed, "strict_img_size", False) else None
    return None if fixed is None else tuple(fixed)


def check_size(size: tuple[int, int], module: nn.Module) -> None:
    """ValueError where `module` takes pictures of another size only."""
    fixed = fixed_size(module)
    if fixed is not None and fixed != tuple(size):
        raise ValueError(
            f"size is {size[0]}×{size[1]}, but the model takes {fixed[0]}×{fixed[1]} pixels only"
        )


def _check_channels(module: nn.Module) -> None:
    channels = getattr(module, "in_chans", 3)
    if channels != 3:
        raise ValueError(
            f"the model takes pictures of {channels} channels, but a Model prepares RGB ones (3 channels); "
            f"quantize the module itself with tensors [N, {channels}, height, width]"
        )


def _input_size(module: nn.Module) -> tuple[int, int]:
    size = getattr(getattr(module, "patch_embed", None), "img_size", None)
    if size is None:
        raise ValueError(
            f"{type(module).__name__} does not say its picture size; give it as size=224 or whatever it takes"
        )
    return size


def checked_labels(labels: Sequence[str] | None, module: nn.Module) -> list[str] | None:
    """ValueError for what are no class names, or not as many as `module` has classes."""
    if labels is None:
        return None
    names = isinstance(labels, Sequence) and not isinstance(labels, str)
    if not names or not all(isinstance(label, str) for label in labels):
        raise ValueError(f"labels must be a list of class names, got {labels!r:.80}")
    classes = classes_of(module)
    if classes == 0:
        raise ValueError("the model has no head, so it has no classes that labels could name; leave them out")
    if classes is not None and classes != len(labels):
        raise ValueError(f"the model has {classes} classes but {len(labels)} labels were given")
    return list(labels)


def _with_crop(preprocessing: Preprocessing, crop_pct: float | None) -> Preprocessing:
    chosen = default_crop(min(preprocessing.size)) if crop_pct is None else crop_pct
    return replace(preprocessing, crop_pct=chosen)


def count_params(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
