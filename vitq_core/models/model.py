"""Getting a model to quantize: bundled, from a folder, from the Hugging Face hub, or already in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn

from ..common.errors import VitqError
from ..common.files import given_path
from ..common.modes import evaluating
from ..pictures.labels import checkpoint_labels
from ..pictures.preprocess import Preprocessing, default_crop
from ..tasks import classes_of, task_of
from .catalogue import OUTLIERS, ModelInfo, find_model, folder_of, list_models, weights_of
from .checkpoint import read_checkpoint
from .hub import fetch_model

__all__ = ["Model", "ModelInfo", "Preprocessing", "list_models", "load_model", "wrap_model"]

HUB_PREFIX = "hf-hub:"
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, eq=False)
class Model:
    """A network with what is needed to use it.

    `module` maps [B, 3, H, W] to logits [B, classes], or to features where it has no head (`info.task`);
    `preprocess(picture)` makes its [3, H, W]; `labels` names the classes if they are known;
    `load_model(info.id)` gives it again unless it was made in memory.
    """

    module: nn.Module = field(repr=False)
    preprocessing: Preprocessing
    labels: list[str] | None = field(repr=False)
    info: ModelInfo

    @property
    def preprocess(self) -> Preprocessing:
        """PIL picture → normalised float tensor [3, H, W]."""
        return self.preprocessing

    @property
    def classes(self) -> int:
        """How many classes it tells apart; 0 where it has no head, or does not show one."""
        return classes_of(self.module) or 0

    def predict(self, picture: Image.Image) -> Any:
        """The answer for one picture, worked out on the model's own device.

        Classification: the five most probable [(label, probability)], best first. Features: a tensor [D].
        Raises ValueError for what is no picture, VitqError for outputs that are not finite.
        """
        if not isinstance(picture, Image.Image):
            raise ValueError(f"predict takes a PIL picture, got {type(picture).__name__}")
        task = task_of(self.module, self)
        batch = task.collate(self.preprocess(picture)[None]).on(self.module)
        with evaluating(self.module), torch.no_grad():
            outputs = task.run(self.module, batch)
        return task.present(outputs, self.labels)


def load_model(model_id: str | Path, device: str | torch.device | None = None) -> Model:
    """The model of an id of `list_models()`, a folder in timm's format, `hf-hub:user/name` or `timm/name`.

    The module is in evaluation mode, float32, its parameters without gradients, on `device` or the CPU.
    Nothing is downloaded twice. Raises ValueError for an unknown id or device and VitqError for a model that
    cannot be downloaded or read.
    """
    if not isinstance(model_id, (str, Path)):
        raise _unknown(model_id)
    device = _checked_device(device)
    model = _load(model_id)
    _move(model.module, device)
    return model


def _load(model_id: str | Path) -> Model:
    info = find_model(str(model_id))
    if info is not None and info.bundled:
        return _load_bundled(info)
    if info is not None:
        return _read(fetch_model(info.source), info)
    folder = _folder(model_id)
    if folder is not None:
        return _read(folder, _outside(str(model_id), source=str(folder)))
    repo = _repository(str(model_id))
    return _read(fetch_model(repo), _outside(str(model_id), source=repo))


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
    `crop_pct` is 0.875, or 1 below 128 pixels. Raises ValueError for what does not fit.
    """
    if not isinstance(module, nn.Module):
        raise ValueError(f"wrap_model takes a torch.nn.Module, got {type(module).__name__}")
    pixels = size if size is not None else _input_size(module)
    preprocessing = Preprocessing(size=pixels, interpolation=interpolation, mean=mean, std=std)
    _check_size(preprocessing.size, module)
    preprocessing = _with_crop(preprocessing, crop_pct)
    labels, name = _checked_labels(labels, module), type(module).__name__
    task = task_of(module).name
    info = ModelInfo(name, name, task, _params(module), False, "memory", "A model given in memory.")
    _move(module, _checked_device(device))
    return Model(module.eval(), preprocessing, labels, info)


def _checked_device(device: object) -> torch.device | None:
    """ValueError for what names no device of this machine."""
    if device is None:
        return None
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:
        raise ValueError(
            f"device must be one of this machine's, such as 'cpu', got {device!r:.80}"
        ) from error


def _move(module: nn.Module, device: torch.device | None) -> None:
    if device is not None:
        module.to(device)


def _check_size(size: tuple[int, int], module: nn.Module) -> None:
    embed = getattr(module, "patch_embed", None)
    fixed = getattr(embed, "img_size", None) if getattr(embed, "strict_img_size", False) else None
    if fixed is not None and tuple(fixed) != tuple(size):
        raise ValueError(
            f"size is {size[0]}×{size[1]}, but the model takes {fixed[0]}×{fixed[1]} pixels only"
        )


def _load_bundled(info: ModelInfo) -> Model:
    if not weights_of(info).is_file():
        raise VitqError(
            f"the weights of {info.id} are missing: there should be {weights_of(info)}; "
            "get the project again with its assets folder"
        )
    model = _read(folder_of(info), info)
    if info.id.endswith(OUTLIERS):
        # Imported only here: most models need none of the demonstration code.
        from .outliers import spread_channels

        spread_channels(model.module)
    return model


def _read(folder: Path, info: ModelInfo) -> Model:
    module = read_checkpoint(folder, info.id)
    config = module.pretrained_cfg
    try:
        preprocessing = Preprocessing.from_timm(config)
        labels = checkpoint_labels(config, classes_of(module) or 0)
    except (ValueError, TypeError, KeyError) as error:
        raise VitqError(f"the config.json of {info.id} cannot be used: {error}") from error
    info = replace(info, params=_params(module), task=task_of(module).name)
    return Model(module, preprocessing, labels, info)


def _folder(model_id: str | Path) -> Path | None:
    """The folder that is meant, None where there is none of that name."""
    try:
        folder = given_path(model_id, "the model")
    except ValueError:
        return None  # too long, of no user, … for a folder; the answer then lists what there is
    return folder if folder.is_dir() else None


def _repository(model_id: str) -> str:
    """The hub's name in `hf-hub:user/name` or `timm/name`; ValueError, listing what there is, otherwise."""
    name = model_id.removeprefix(HUB_PREFIX)
    if name.count("/") == 1 and (name != model_id or name.startswith("timm/")):
        return name
    raise _unknown(model_id)


def _unknown(model_id: object) -> ValueError:
    available = ", ".join(info.id for info in list_models())
    return ValueError(
        f"unknown model {model_id!r:.80}; available: {available}, "
        f"a model folder in timm's format, or {HUB_PREFIX}user/name"
    )


def _outside(model_id: str, source: str) -> ModelInfo:
    """What parameters and task it has is known once it is read."""
    title = Path(source).name
    return ModelInfo(model_id, title, "", 0, False, source, f"A model from {source}.")


def _input_size(module: nn.Module) -> tuple[int, int]:
    size = getattr(getattr(module, "patch_embed", None), "img_size", None)
    if size is None:
        raise ValueError(
            f"{type(module).__name__} does not say its picture size; give it as size=224 or whatever it takes"
        )
    return size


def _checked_labels(labels: Sequence[str] | None, module: nn.Module) -> list[str] | None:
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


def _params(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
