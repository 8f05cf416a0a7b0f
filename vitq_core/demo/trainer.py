"""The training loop of the bundled models: learns fast on a CPU, ends on time, survives interruptions."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .datasets import PictureSet, augment, to_float
from .export import accuracy
from .initialization import initialize
from .muon import optimizers
from .tasks import TASKS, Task


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides how a model is trained.

    Training ends after `epochs` or `minutes`, whichever comes first. `warmup` and `keep_all_from` are
    shares of the whole training: until when the learning rate rises, and from when on no patch is dropped.
    """

    task: str
    data: str | None = None
    epochs: float = 30
    minutes: float = 90
    seed: int = 0
    threads: int = 1
    batch_size: int = 128
    lr: float = 3e-3
    weight_decay: float = 0.1
    warmup: float = 0.03
    patch_drop: float = 0.5
    keep_all_from: float = 0.75
    label_smoothing: float = 0.05
    checkpoint_minutes: float = 3
    report_minutes: float = 5

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ValueError(f"unknown task {self.task!r}; available: {', '.join(TASKS)}")
        for name in ("epochs", "minutes", "batch_size", "threads", "lr"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        for name in ("warmup", "patch_drop", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 0 and below 1, not {getattr(self, name)}")

    def options(self) -> dict:
        """The options that differ from their defaults."""
        return {f.name: getattr(self, f.name) for f in fields(self)[1:] if getattr(self, f.name) != f.default}


class Trainer:
    """One training: the model, its optimizers and how far they are, all kept in a checkpoint in `out`."""

    def __init__(self, config: TrainConfig, train: PictureSet, held_out: PictureSet, out: Path):
        self.config, self.train, self.held_out = config, train, held_out
        self.task = TASKS[config.task]
        self.checkpoint = Path(out) / "checkpoint.pt"
        torch.manual_seed(config.seed)
        self.model = build(self.task, len(train.names), config.patch_drop)
        initialize(self.model)
        self.optimizers = optimizers(self.model, config.lr, config.weight_decay)
        self.step, self.seconds = 0, 0.0
        self.losses: list[float] = []

    @property
    def epochs(self) -> float:
        """Epochs done so far."""
        return self.step / self._steps_per_epoch

    @property
    def progress(self) -> float:
        """Share of the training that is done, by epochs or by the clock, whichever is further."""
        return max(self.epochs / self.config.epochs, self.seconds / (60 * self.config.minutes))

    @property
    def _steps_per_epoch(self) -> int:
        return max(len(self.train) // self.config.batch_size, 1)

    def run(self) -> None:
        """Train to the end, saving and reporting on the way."""
        saved = reported = self.seconds
        batches = self._batches()
        while self.progress < 1:
            begin = time.monotonic()
            self.losses.append(self._train_step(next(batches)))
            self.seconds += time.monotonic() - begin
            if self.seconds - saved > 60 * self.config.checkpoint_minutes:
                self.save()
                saved = self.seconds
            if self.seconds - reported > 60 * self.config.report_minutes:
                self._report()
                reported = self.seconds
        self.save()
        self._report()

    def _batches(self) -> Iterator[Tensor]:
        """Indices of the next batches; a resumed training goes on where its epoch stopped."""
        size = self.config.batch_size
        while True:
            epoch, done = divmod(self.step, self._steps_per_epoch)
            order = torch.randperm(len(self.train), generator=_generator(self.config.seed, epoch))
            for i in range(done, self._steps_per_epoch):
                yield order[i * size : (i + 1) * size]

    def _train_step(self, indices: Tensor) -> float:
        self._follow_schedule()
        images = augment(
            self.train.images[indices], self.task.shift, _generator(self.config.seed + 1, self.step)
        )
        self.model.train()
        logits = self.model(to_float(images, *self.task.norm))
        loss = F.cross_entropy(
            logits, self.train.labels[indices], label_smoothing=self.config.label_smoothing
        )
        loss.backward()
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        self.step += 1
        return loss.item()

    def _follow_schedule(self) -> None:
        """Set the learning rate (linear rise, then linear fall to zero) and whether patches are dropped."""
        progress, warmup = self.progress, self.config.warmup
        scale = max(progress, 1e-3) / warmup if progress < warmup else (1 - progress) / (1 - warmup)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.config.lr * scale
        if self.config.patch_drop:
            self.model.patch_drop.prob = (
                self.config.patch_drop if progress < self.config.keep_all_from else 0.0
            )

    def _report(self) -> None:
        every = max(len(self.held_out) // 1000, 1)  # a sample across all classes
        sample = PictureSet(self.held_out.images[::every], self.held_out.labels[::every], self.held_out.names)
        recent = self.losses[-100:]
        print(
            f"{self.seconds / 60:6.1f} min  epoch {self.epochs:6.2f}  progress {self.progress:.3f}  "
            f"loss {sum(recent) / max(len(recent), 1):.3f}  "
            f"held-out {accuracy(self.model, sample, self.task.norm):.3f} of {len(sample)}",
            flush=True,
        )

    def save(self) -> None:
        """Write the checkpoint under another name first, so that an interruption never leaves half a file."""
        state = {"model": self.model.state_dict(), "optimizers": [o.state_dict() for o in self.optimizers]}
        new = self.checkpoint.with_suffix(".new")
        torch.save(state | {"step": self.step, "seconds": self.seconds}, new)
        new.replace(self.checkpoint)

    def resume(self) -> None:
        """Go on from the checkpoint; ValueError where there is none."""
        if not self.checkpoint.exists():
            raise ValueError(f"there is no checkpoint in {self.checkpoint.parent} to go on from")
        state = torch.load(self.checkpoint, weights_only=True)
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.seconds = state["step"], state["seconds"]


def build(task: Task, num_classes: int, patch_drop: float = 0.0) -> nn.Module:
    """An untrained model of the task's shape."""
    return timm.create_model(
        task.architecture, num_classes=num_classes, patch_drop_rate=patch_drop, **task.model_args
    )


def _generator(seed: int, position: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed * 1_000_003 + position)
