"""Getting a model by name: bundled, from a folder or file, or downloaded."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from ..common.errors import VitqError
from ..common.files import given_path
from ..common.monitor import Monitor, Progress
from ..tasks import task_of
from .catalogue import OUTLIERS, ModelInfo, find_model, folder_of, list_models, weights_of
from .checkpoint import Checkpoint, read_checkpoint, weights_in
from .checkpoints.given import Given
from .checkpoints.unknown import refuse_undescribed
from .download import download
from .hub import downloaded, fetch_model
from .hub_check import small_files
from .hub_errors import CONFIG
from .hub_name import PREFIX, HubName, hub_name
from .model import Model, checked_device, count_params, move, refuse_for_sam, sam_model
from .sam.load import described_in, holds_sam, is_sam_file, read_sam, read_sam_folder
from .sam.published import Published, published_as

WEIGHT_FILES = (".safetensors", ".pth", ".pt", ".bin")  # how their names end
DOWNLOAD = 0.95  # what share of loading it is


def load_model(
    model_id: str | Path,
    device: str | torch.device | None = None,
    progress: Progress | None = None,
    cancel: object = None,
    *,
    architecture: str | None = None,
    labels: Sequence[str] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    size: int | tuple[int, int] | None = None,
    crop_pct: float | None = None,
    interpolation: str | None = None,
) -> Model:
    """The model of an id of `list_models()`, a folder, a file, `hf-hub:user/name` or `timm/name`, or the
    address of a model's page on the hub. `@revision` behind a name of the hub takes a branch, a tag or a
    commit; `info.source` says which commit was loaded.

    Folders and repositories are in timm's format, in that of the transformers library (ViT, DeiT, DINOv2,
    Swin), or hold a Segment Anything: its weights, and a config.json
    {"architecture": "segment_anything", "shape": {…}} for what their sizes do not tell. A file, `.pth` or
    `.safetensors`, is a Segment Anything, a model that the config.json beside it describes, or of the
    `architecture` of timm's that is given. Where one is given, no config.json is read.

    `labels`, `mean`, `std`, `size`, `crop_pct` and `interpolation` are as in `wrap_model`, and take the place
    of what a folder says; of a file's own size, where no `size` is given, the weights tell.

    The module is in evaluation mode, float32, its parameters without gradients, on `device` or the CPU, and
    each of its tensors is one of the file: what is missing or left over is refused. Nothing is downloaded
    twice, and what broke off is gone on with. `progress` is called with (fraction, message), `cancel` is
    asked between parts of a file. Raises ValueError for an unknown id or device, and what is given and does
    not fit; VitqError for a model that cannot be downloaded or read; Cancelled.
    """
    if not isinstance(model_id, (str, Path)):
        raise _unknown(model_id)
    monitor = Monitor(progress, cancel)
    device = checked_device(device)
    given = Given(architecture, labels, mean, std, size, crop_pct, interpolation)
    monitor.check()
    model = _load(model_id, given, monitor)
    move(model.module, device)
    monitor.done(f"Loaded {model.info.title}")
    return model


def is_here(info: ModelInfo) -> bool:
    """Whether the model can be loaded without the network: bundled, or downloaded before."""
    published = published_as(info.id)
    if published is not None:
        return published.path.is_file()
    return info.bundled or downloaded(HubName(info.source)) is not None


def _load(model_id: str | Path, given: Given, monitor: Monitor) -> Model:
    info, published = find_model(str(model_id)), published_as(str(model_id))
    if info is not None and given.named():
        raise ValueError(
            f"{info.id} says itself what it is; leave out {', '.join(given.named())}, which are for files "
            "and folders of your own"
        )
    if published is not None:
        return _load_published(published, info, monitor)
    if info is not None and info.bundled:
        return _load_bundled(info)
    if info is not None:
        return _fetch(HubName(info.source), info, given, monitor)
    path = _path(model_id)
    if path is not None and path.is_file():
        return _load_file(path, _outside(str(model_id), source=str(path)), given)
    if path is not None and path.is_dir():
        return _read(path, _outside(str(model_id), source=str(path)), given)
    return _fetch(_of_hub(str(model_id)), None, given, monitor)


def _fetch(name: HubName, info: ModelInfo | None, given: Given, monitor: Monitor) -> Model:
    """`info`: of the catalogue; of other models of the hub the id names the commit that was taken."""
    title = name.repo.partition("/")[2] if info is None else info.title
    if downloaded(name) is None:
        monitor.report(0.0, f"Downloading {title} from the Hugging Face hub")
    folder = fetch_model(name, monitor.part(0.0, DOWNLOAD), partial(small_files, repo=name.repo))
    taken = name.at(folder.name)
    known = _outside(taken.id, taken.source, title) if info is None else replace(info, source=taken.source)
    return _read(folder, known, given, name.short)


def _load_published(item: Published, info: ModelInfo, monitor: Monitor) -> Model:
    part = monitor.part(0.0, DOWNLOAD)
    path = download(item.address, item.path, item.sha256, 4 * item.params, part)
    module = read_sam(path, f"{path.name} in {path.parent}", item.shape.as_dict(), "its name")
    return sam_model(module, info)


def _load_file(path: Path, info: ModelInfo, given: Given) -> Model:
    """By the architecture given, by what its weights are called, or by the config.json beside it."""
    if given.architecture is None and is_sam_file(path, info.id):
        refuse_for_sam(**vars(given))
        return sam_model(read_sam(path, info.id, described_in(path.parent)), info)
    if given.architecture is None and not (path.parent / CONFIG).is_file():
        refuse_undescribed(path, info.id)
    return _model(read_checkpoint(path.parent, info.id, given, path), info)


def _load_bundled(info: ModelInfo) -> Model:
    if not weights_of(info).is_file():
        raise VitqError(
            f"the weights of {info.id} are missing: there should be {weights_of(info)}; "
            "get the project again with its assets folder"
        )
    model = _read(folder_of(info), info, Given())
    if info.id.endswith(OUTLIERS):
        # Imported only here: most models need none of the demonstration code.
        from .outliers import spread_channels

        spread_channels(model.module)
    return model


def _read(folder: Path, info: ModelInfo, given: Given, called: str = "") -> Model:
    """`called`: in errors; otherwise its id."""
    called = called or info.id
    if given.architecture is None and holds_sam(folder, called):
        refuse_for_sam(**vars(given))
        return sam_model(read_sam_folder(folder, called), info)
    if given.architecture is None and not (folder / CONFIG).is_file():
        refuse_undescribed(weights_in(folder, called), called)
    return _model(read_checkpoint(folder, called, given), info)


def _model(read: Checkpoint, info: ModelInfo) -> Model:
    summary = " ".join((info.summary, *read.notes)) if not info.bundled else info.summary
    info = replace(
        info, params=count_params(read.module), task=task_of(read.module).name, summary=summary
    )  # fmt: skip
    return Model(read.module, read.preprocessing, read.labels, info)


def _path(model_id: str | Path) -> Path | None:
    """The file or folder that is meant, None where there is none of that name.

    Raises ValueError for a file of weights that is not there: nothing else is called like that.
    """
    try:
        path = given_path(model_id, "the model")
    except ValueError:
        return None  # too long, of no user, … for a file; the answer then lists what there is
    if path.exists():
        return path
    if path.suffix.lower() in WEIGHT_FILES:
        raise ValueError(f"there is no file of weights {str(model_id)!r:.200}")
    return None


def _of_hub(model_id: str) -> HubName:
    """ValueError, listing what there is, for what names no model of the hub."""
    name = hub_name(model_id)
    if name is None:
        raise _unknown(model_id)
    return name


def _unknown(model_id: object) -> ValueError:
    available = ", ".join(info.id for info in list_models())
    return ValueError(
        f"unknown model {model_id!r:.80}; available: {available}, a model's folder, a file of weights, "
        f"or {PREFIX}user/name"
    )


def _outside(model_id: str, source: str, title: str = "") -> ModelInfo:
    """What parameters and task it has is known once it is read."""
    return ModelInfo(model_id, title or Path(source).name, "", 0, False, source, f"A model from {source}.")
