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
from .export import accuracy, load
from .initialization import initialize
from .muon import optimizers
from .tasks import TASKS, Task

PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides how a model is trained.

    Training ends after `epochs` or `minutes`, whichever comes first. It begins with the weights of `start`, a
    folder that `--export` wrote, else from nothing. `warmup` and `keep_all_from` are shares of the whole
    training: until when the learning rate rises, and from when on no patch is dropped.
    All blocks run in every step: one that joins late, or is left out now and then, may stay idle.
    `patch_labels` weighs the loss of naming what is in every patch, for pictures with masks; it needs all
    patches. `precision` is that of the matrix products; weights and losses are always float32.
    """

    task: str
    data: str | None = None
    start: str = ""
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
    patch_labels: float = 0.0
    precision: str = "float32"
    label_smoothing: float = 0.05
    checkpoint_minutes: float = 3
    report_minutes: float = 5

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ValueError(f"unknown task {self.task!r}; available: {', '.join(TASKS)}")
        for name in ("epochs", "minutes", "batch_size", "threads", "lr"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        if self.start and not Path(self.start).is_dir():
            raise ValueError(f"start must be a folder that --export wrote, and {self.start!r} is none")
        for name in ("warmup", "patch_drop", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 0 and below 1, not {getattr(self, name)}")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision must be {' or '.join(PRECISIONS)}, not {self.precision!r}")
        if self.patch_labels and self.patch_drop:
            raise ValueError("patch_labels needs all patches; set patch_drop to 0")

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
        if config.start:
            self.model.load_state_dict(load(Path(config.start)).state_dict())
        self.patch_head = nn.Linear(self.model.embed_dim, len(train.names) + 1)
        self.optimizers = optimizers(self.model, self.patch_head, config.lr, config.weight_decay)
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
        images, masks = self._augmented(indices)
        labels, weight = self.train.labels[indices], self.config.patch_labels
        self.model.train()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.config.precision == "bfloat16"):
            tokens = self.model.forward_features(to_float(images, *self.task.norm))
            logits = self.model.forward_head(tokens)
            loss = F.cross_entropy(logits.float(), labels, label_smoothing=self.config.label_smoothing)
            total = loss + weight * self._patch_loss(tokens, masks, labels) if weight else loss
        total.backward()
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        self.step += 1
        return loss.item()

    def _augmented(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Images [B, 3, H, W] and, shifted and mirrored alike, masks [B, 1 or 0, H, W]."""
        masks = self.train.masks
        layers = [self.train.images[indices], *([] if masks is None else [masks[indices]])]
        generator = _generator(self.config.seed + 1, self.step)
        return augment(torch.cat(layers, 1), self.task.shift, generator).split([3, len(layers) - 1], 1)

    def _patch_loss(self, tokens: Tensor, masks: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of naming patches: the label where the mask covers 40 % of one, else background."""
        covered = F.avg_pool2d(masks.float() / 255, self.model.patch_embed.patch_size).flatten(1) > 0.4
        target = torch.where(covered, labels[:, None], len(self.train.names))
        logits = self.patch_head(tokens[:, self.model.num_prefix_tokens :])
        return F.cross_entropy(logits.flatten(0, 1).float(), target.flatten())

    def _follow_schedule(self) -> None:
        """Set the learning rate (linear rise, then linear fall to zero) and the patches kept."""
        progress, config = self.progress, self.config
        rising = progress < config.warmup
        scale = max(progress, 1e-3) / config.warmup if rising else (1 - progress) / (1 - config.warmup)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = config.lr * scale
        if config.patch_drop:
            self.model.patch_drop.prob = config.patch_drop if progress < config.keep_all_from else 0.0

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
        state = {"model": self.model.state_dict(), "patch_head": self.patch_head.state_dict()}
        state |= {"optimizers": [o.state_dict() for o in self.optimizers]}
        new = self.checkpoint.with_suffix(".new")
        torch.save(state | {"step": self.step, "seconds": self.seconds}, new)
        new.replace(self.checkpoint)

    def load(self) -> dict:
        """Take the model and how far it is from the checkpoint; returns the rest of it."""
        if not self.checkpoint.exists():
            raise ValueError(f"there is no checkpoint in {self.checkpoint.parent}")
        state = torch.load(self.checkpoint, weights_only=True)
        self.model.load_state_dict(state.pop("model"))
        self.step, self.seconds = state.pop("step"), state.pop("seconds")
        return state

    def resume(self) -> None:
        """Take everything from the checkpoint, so that training can go on."""
        state = self.load()
        self.patch_head.load_state_dict(state["patch_head"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)


def build(task: Task, num_classes: int, patch_drop: float = 0.0) -> nn.Module:
    """An untrained model of the task's shape."""
    return timm.create_model(
        task.architecture, num_classes=num_classes, patch_drop_rate=patch_drop, **task.model_args
    )


def _generator(seed: int, position: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed * 1_000_003 + position)
