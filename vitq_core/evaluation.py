"""How good a model is on pictures, and how close to a reference: accuracy, agreement, divergence."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .common.errors import VitqError
from .common.modes import evaluating
from .common.monitor import Monitor
from .data.batches import length_of
from .graph.copies import module_of
from .models import Model
from .tasks.classification import Evaluation, Tally

__all__ = ["Evaluation", "evaluate"]

Progress = Callable[[float | None, str], object]
TENSOR_BATCH = 64


def evaluate(
    module: nn.Module | Model,
    loader: Iterable,
    reference: nn.Module | Model | None = None,
    progress: Progress | None = None,
    cancel: Any = None,
) -> Evaluation:
    """Go through `loader` once, in constant memory, and measure.

    `loader` gives (images [B, 3, H, W], labels [B]) or images alone; a label of -1 means none. At every batch
    `cancel` (a callable, or an object with `is_set()`) is asked and `progress` called with (share done or
    None, message). A quantized module is audited first. Training mode is as before afterwards, also after an
    error. Raises ValueError for an empty loader or images or labels of a wrong type, shape or value,
    VitqError when a module gives no finite outputs or fails its audit, Cancelled when told to stop.
    """
    module = module_of(module, "evaluate")
    reference = None if reference is None else module_of(reference, "evaluate")
    total, batches = _length(loader), _batches(loader)
    tally, monitor = Tally(), Monitor(cancel=cancel)
    with evaluating(module), evaluating(reference), torch.inference_mode():
        for done, (images, labels) in enumerate(batches):
            monitor.check()
            if done == 0:
                _audit(module, images, "the model")
                _audit(reference, images, "the reference")
            logits = _logits(module, images, "the model")
            theirs = None if reference is None else _logits(reference, images, "the reference")
            tally.add(logits, labels, theirs)
            if progress is not None:
                progress(min((done + 1) / total, 1.0) if total else None, f"{tally.n} pictures evaluated")
    return tally.result()


def _length(loader: Iterable) -> int | None:
    """Batches in the loader, if it knows."""
    return -(-len(loader) // TENSOR_BATCH) if isinstance(loader, Tensor) else length_of(loader)


def _batches(loader: Iterable) -> Iterator[tuple[Tensor, Tensor | None]]:
    """(images, labels or None) for each batch, checked; a tensor of all images is cut into batches."""
    if not isinstance(loader, Iterable):
        raise ValueError(f"evaluate takes an iterable of batches or a tensor, got {type(loader).__name__}")
    for batch in loader.split(TENSOR_BATCH) if isinstance(loader, Tensor) else loader:
        images, labels = batch[:2] if isinstance(batch, tuple | list) and len(batch) > 1 else (batch, None)
        if not isinstance(images, Tensor) or images.ndim != 4:
            got = list(images.shape) if isinstance(images, Tensor) else type(images).__name__
            raise ValueError(f"a batch must be images [B, 3, H, W] or a pair (images, labels [B]), got {got}")
        if not images.is_floating_point():
            raise ValueError(f"images must be preprocessed floats, got {images.dtype}; use model.preprocess")
        if not torch.isfinite(images).all():
            raise ValueError("the images contain values that are not finite numbers; check the preprocessing")
        if len(images):
            yield images, labels


def _logits(module: nn.Module, images: Tensor, who: str) -> Tensor:
    """Logits [B, classes] on the module's own device; VitqError when they are no such thing or not finite."""
    with _taking(images, who):
        logits = module(_moved(images, module))
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        got = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise VitqError(
            f"{who} must give logits [B, classes], got {got}; only classifiers can be evaluated so"
        )
    if not torch.isfinite(logits).all():
        raise VitqError(f"{who} gives outputs that are not finite numbers; its accuracy would mean nothing")
    return logits.float()


@contextmanager
def _taking(images: Tensor, who: str) -> Iterator[None]:
    """Raises VitqError, a sentence, where a network fails on images of a size it was not made for."""
    try:
        yield
    except (AssertionError, RuntimeError) as error:
        raise VitqError(f"{who} cannot take images of {tuple(images.shape[1:])}: {error}") from error


def _moved(images: Tensor, module: nn.Module) -> Tensor:
    """On the device and in the precision of the module's first tensor."""
    tensor = next(itertools.chain(module.parameters(), module.buffers()), images)
    return images.to(tensor.device, tensor.dtype if tensor.is_floating_point() else images.dtype)


def _audit(module: nn.Module | None, images: Tensor, who: str) -> None:
    """Is every quantizer of the recipe active and fitted? Published results were wrong for lack of it."""
    if hasattr(module, "vitq"):
        from .quantized.audit import audit

        with _taking(images, who):
            audit(module, _moved(images, module))
