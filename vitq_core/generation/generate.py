"""Pictures for a model to be calibrated on, made from noise (PSAQ-ViT, arXiv 2203.02250)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..common.arithmetic import plain_arithmetic
from ..common.checks import check_count, check_whole
from ..common.errors import VitqError
from ..common.monitor import Monitor, Progress
from ..graph.prepared import PreparedModel, prepare
from ..models import Model
from ..models.model import checked_device
from ..pictures.preprocess import Preprocessing
from .descent import improved, planned_steps
from .objective import Objective, attentions
from .variation import variation_target

TOGETHER = 32  # pictures that are made at a time
RATES, RATE = {"swin": 0.25}, 0.20  # by the family's name, and of every other


@plain_arithmetic
def generate_images(
    model: Model,
    count: int = 32,
    seed: int = 0,
    iterations: int = 500,
    progress: Progress | None = None,
    cancel: object = None,
    device: str | torch.device | None = None,
    *,
    published: bool = False,
) -> Tensor:
    """Pictures [count, 3, H, W] made from noise, normalised as ``model`` takes them, on the CPU: to calibrate
    on where there are no others.

    PSAQ-ViT (arXiv 2203.02250): gradients of ``model`` pull noise towards patches that differ, towards a
    class for each picture and towards the roughness of real pictures, in two passes of ``iterations``. A
    model without classes gives no class to ask for; the other two terms need none. 32 are made at a time, and
    each such group of a ``seed`` is the same whatever the ``count``.

    ``progress(fraction, message)`` hears how far it is, ``cancel`` (a callable, or an object with ``is_set``)
    stops it with :class:`Cancelled`. ``device``: where it computes, by default where the model is.
    ``published``: leave out the first token of every attention, as the authors' code does, also where it is a
    patch (in Swin's windows). Raises ValueError for what is no Model, VitqError for one that answers prompts
    or that has no attention known here.
    """
    check_count("count", count)
    check_count("iterations", iterations)
    check_whole("seed", seed)
    preprocessing = _preprocessing(model)
    monitor, device = Monitor(progress, cancel), checked_device(device)
    monitor.report(0.0, "Preparing")
    generator = torch.Generator().manual_seed(seed)
    with torch.enable_grad():
        prepared = prepare(model, "generate_images", torch.zeros(1, 3, *preprocessing.size))
        prepared.module.to(device or prepared.device)
        maker = _Maker(prepared, bounds_of(preprocessing), iterations, published)
        sizes = [min(TOGETHER, count - first) for first in range(0, count, TOGETHER)]
        made = [
            maker.group(size, generator, monitor.part(index / len(sizes), (index + 1) / len(sizes)))
            for index, size in enumerate(sizes)
        ]
    monitor.done("Pictures made")
    return torch.cat(made)


def bounds_of(preprocessing: Preprocessing) -> tuple[Tensor, Tensor]:
    """[3, 1, 1] each: a black pixel and a white one, normalised."""
    mean, std = (torch.tensor(each).view(-1, 1, 1) for each in (preprocessing.mean, preprocessing.std))
    return (0 - mean) / std, (1 - mean) / std


@dataclass(frozen=True)
class _Maker:
    """Of groups of pictures, whose pixels lie within ``bounds``."""

    prepared: PreparedModel
    bounds: tuple[Tensor, Tensor]
    iterations: int
    published: bool

    def __post_init__(self) -> None:
        if not attentions(self.prepared):
            raise VitqError("pictures are made by the attention between patches, and this model has none")

    def group(self, size: int, generator: torch.Generator, monitor: Monitor) -> Tensor:
        """[size, 3, H, W]."""
        start = torch.randn(size, *self.prepared.input_size, generator=generator)
        targets = self._targets(start, generator)
        wanted = variation_target(start.shape, generator)
        objective = Objective(self.prepared, targets, wanted, 1 if self.published else self._prefix)
        rate = RATES.get(self.prepared.family.name, RATE)
        steps = list(planned_steps(self.iterations, rate, generator))
        return improved(start.to(self.prepared.device), objective, steps, self.bounds, monitor).cpu()

    @property
    def _prefix(self) -> int:
        """How many tokens come before the patches; in windows none."""
        return self.prepared.maps.prefix if self.prepared.maps else 0

    def _targets(self, start: Tensor, generator: torch.Generator) -> Tensor | None:
        """[B]: a class for each picture; None for a model without."""
        prepared = self.prepared
        if not prepared.task.takes_targets:
            return None
        with torch.no_grad():
            (answer,) = prepared.task.run(prepared.module, prepared.collate(start[:1])).values()
        return torch.randint(answer.shape[1], (len(start),), generator=generator).to(prepared.device)


def _preprocessing(model: object) -> Preprocessing:
    """Raises ValueError for what is no Model, VitqError for one that needs prompts."""
    if not isinstance(model, Model):
        raise ValueError(
            "generate_images takes a Model, which knows how pixels are normalised, got "
            f"{type(model).__name__}; of a module, vq.wrap_model(module, mean=…, std=…) makes one"
        )
    if not isinstance(model.preprocessing, Preprocessing):
        raise VitqError(
            "pictures are made for models that take a picture alone; Segment Anything takes prompts too"
        )
    return model.preprocessing
