"""Running a model over samples in small batches, and keeping its logits for the gallery."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from ..common.monitor import Monitor
from .samples import Sample

BATCH = 64
UNKNOWN = -1

Progress = Callable[[float, str], None]
Cancel = Callable[[], bool]


class Batches:
    """(images [n, 3, H, W], labels [n], UNKNOWN where there is none); one batch in memory at a time.

    `cancel` is asked before every picture, which raises vq.Cancelled: a large one takes a second to decode.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        preprocess: Callable[[Any], Tensor],
        size: int = BATCH,
        cancel: Cancel | None = None,
    ):
        self.samples, self.preprocess, self.batch_size = samples, preprocess, size
        self._monitor = Monitor(cancel=cancel)

    def __len__(self) -> int:
        return -(-self.count // self.batch_size)

    @property
    def count(self) -> int:
        """Pictures."""
        return len(self.samples)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self.part(0, self.count)

    def part(self, start: int, stop: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of some of the pictures alone."""
        for first in range(start, stop, self.batch_size):
            part = self.samples[first : min(first + self.batch_size, stop)]
            labels = [UNKNOWN if sample.label is None else sample.label for sample in part]
            yield torch.stack([self._tensor(sample) for sample in part]), torch.tensor(labels)

    def _tensor(self, sample: Sample) -> Tensor:
        self._monitor.check()
        return self.preprocess(sample.read())


@dataclass(frozen=True)
class Usable:
    """The `samples` that can be decoded, the names of those that cannot (`unread`), and a SHA-256 of all
    pixels and labels of the former (`digest`).
    """

    samples: list[Sample]
    unread: list[str]
    digest: str


def usable(samples: Sequence[Sample], cancel: Cancel | None = None) -> Usable:
    """Raises ValueError, with the first one's reason, where none can be decoded.

    `cancel` is asked before every picture; raises vq.Cancelled.
    """
    kept, unread, reasons, monitor, digest = [], [], [], Monitor(cancel=cancel), hashlib.sha256()
    for sample in samples:
        monitor.check()
        try:
            picture = sample.read()
        except ValueError as error:
            unread.append(sample.name)
            reasons.append(str(error))
        else:
            kept.append(sample)
            digest.update(f"{sample.label} {picture.mode} {picture.size}".encode())
            digest.update(picture.tobytes())
    if not kept:
        raise ValueError(reasons[0] if reasons else "There are no pictures to use.")
    return Usable(kept, unread, digest.hexdigest())


def opened(samples: Iterable[Sample], cancel: Cancel | None = None) -> Iterator[tuple[Sample, Image.Image]]:
    """Every sample with its picture; `cancel` is asked before each of them. Raises vq.Cancelled."""
    monitor = Monitor(cancel=cancel)
    for sample in samples:
        monitor.check()
        yield sample, sample.read()


@contextmanager
def recording(module: nn.Module) -> Iterator[list[Tensor]]:
    """The logits of every forward pass inside: one evaluation serves the numbers and the gallery."""
    seen: list[Tensor] = []
    with module.register_forward_hook(lambda module, inputs, logits: seen.append(logits.detach().float())):
        yield seen


def last(seen: Sequence[Tensor], count: int) -> Tensor:
    """[count, classes]: the end of what was recorded; the audit before an evaluation runs a picture too."""
    return torch.cat(list(seen))[-count:]


class Replay(nn.Module):
    """Gives recorded logits again, batch after batch: a reference that costs no second forward pass."""

    def __init__(self, logits: Tensor):
        super().__init__()
        self.recorded, self.position = logits, 0

    def forward(self, images: Tensor) -> Tensor:
        start, self.position = self.position, self.position + len(images)
        return self.recorded[start : self.position]


def cosines_of(actual: Tensor, expected: Tensor) -> Tensor:
    """[N], between features [N, …]; those that have tokens are compared as one long vector."""
    return torch.cosine_similarity(actual.flatten(1).double(), expected.flatten(1).double(), dim=1)


def top(logits: Tensor, labels: Sequence[str] | None, count: int = 5) -> list[tuple[str, float]]:
    """The `count` most probable (name, probability) of logits [classes]."""
    values, indices = logits.softmax(-1).topk(min(count, len(logits)))
    return [(name_of(i, labels), p) for i, p in zip(indices.tolist(), values.tolist(), strict=True)]


def name_of(index: int, labels: Sequence[str] | None) -> str:
    return labels[index] if labels else f"class {index}"


def part_of(progress: Progress | None, low: float, high: float) -> Progress:
    """`progress` for a stage that covers `low`..`high` of the whole; a share may be unknown (None)."""

    def report(fraction: float | None, message: str) -> None:
        if progress is not None:
            progress(low + (high - low) * (fraction or 0.0), message)

    return report
