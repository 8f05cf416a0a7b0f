"""Trains a classifier: learns fast on a CPU."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .datasets import PictureSet, augment, to_float
from .export import accuracy, load
from .initialization import initialize
from .loop import Loop, LoopConfig, generator_of
from .muon import optimizers
from .tasks import TASKS, Task


@dataclass(frozen=True)
class TrainConfig(LoopConfig):
    """Everything that decides how a classifier is trained.

    Training ends after `epochs` or `minutes`, whichever comes first. It begins with the weights of `start`, a
    folder that `--export` wrote, else from nothing. `keep_all_from`: the share of the whole training from
    when on no patch is dropped.
    All blocks run in every step: one that joins late, or is left out now and then, may stay idle.
    `patch_labels` weighs the loss of naming what is in every patch, for pictures with masks; it needs all
    patches.
    """

    task: str
    data: str | None = None
    start: str = ""
    epochs: float = 30
    patch_drop: float = 0.5
    keep_all_from: float = 0.75
    patch_labels: float = 0.0
    label_smoothing: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.task not in TASKS:
            raise ValueError(f"unknown task {self.task!r}; available: {', '.join(TASKS)}")
        self.check_positive("epochs")
        if self.start and not Path(self.start).is_dir():
            raise ValueError(f"start must be a folder that --export wrote, and {self.start!r} is none")
        for name in ("patch_drop", "label_smoothing"):
            self.check_share(name)
        if self.patch_labels and self.patch_drop:
            raise ValueError("patch_labels needs all patches; set patch_drop to 0")
        if self.patch_drop and not TASKS[self.task].drops_patches:
            raise ValueError(f"{self.task} needs all patches; set patch_drop to 0")


class Trainer(Loop):
    """One training of a task's model."""

    config: TrainConfig

    def __init__(self, config: TrainConfig, train: PictureSet, held_out: PictureSet, out: Path):
        self.train, self.held_out = train, held_out
        self.task = TASKS[config.task]
        torch.manual_seed(config.seed)
        self.model = build(self.task, len(train.names), config.patch_drop)
        initialize(self.model)
        if config.start:
            self.model.load_state_dict(load(Path(config.start)).state_dict())
        self.patch_head = nn.Linear(self.model.num_features, len(train.names) + 1)
        parts = {"model": self.model, "patch_head": self.patch_head}
        learning = optimizers(parts, _matrices(self.model), config.lr, config.weight_decay)
        super().__init__(config, parts, learning, out)
        self._indices = self._batches()

    @property
    def epochs(self) -> float:
        """Epochs done so far."""
        return self.step / self._steps_per_epoch

    @property
    def progress(self) -> float:
        """Share of the training that is done, by epochs or by the clock, whichever is further."""
        return max(self.epochs / self.config.epochs, super().progress)

    @property
    def _steps_per_epoch(self) -> int:
        return max(len(self.train) // self.config.batch_size, 1)

    def _batches(self) -> Iterator[Tensor]:
        """Indices of the next batches; a resumed training goes on where its epoch stopped."""
        size = self.config.batch_size
        while True:
            epoch, done = divmod(self.step, self._steps_per_epoch)
            order = torch.randperm(len(self.train), generator=generator_of(self.config.seed, epoch))
            for i in range(done, self._steps_per_epoch):
                yield order[i * size : (i + 1) * size]

    def train_step(self) -> float:
        return self.learn(next(self._indices))

    def learn(self, indices: Tensor) -> float:
        """From these pictures; returns the loss."""
        images, masks = self._augmented(indices)
        labels, weight = self.train.labels[indices], self.config.patch_labels
        self.model.train()
        with self.products():
            tokens = self.model.forward_features(to_float(images, *self.task.norm))
            logits = self.model.forward_head(tokens)
            loss = F.cross_entropy(logits.float(), labels, label_smoothing=self.config.label_smoothing)
            total = loss + weight * self._patch_loss(tokens, masks, labels) if weight else loss
        self.update(total)
        return loss.item()

    def _augmented(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Images [B, 3, H, W] and, shifted and mirrored alike, masks [B, 1 or 0, H, W]."""
        masks = self.train.masks
        layers = [self.train.images[indices], *([] if masks is None else [masks[indices]])]
        generator = generator_of(self.config.seed + 1, self.step)
        return augment(torch.cat(layers, 1), self.task.shift, generator).split([3, len(layers) - 1], 1)

    def _patch_loss(self, tokens: Tensor, masks: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of naming the cells of the last map [B, H, W, C], or of tokens [B, N, C] in the order
        of patches: the label where the mask covers 40 % of one, else background.
        """
        is_map = tokens.ndim == 4
        grid = tokens.shape[1:3] if is_map else self.model.patch_embed.grid_size
        cells = tokens.flatten(1, 2) if is_map else tokens[:, self.model.num_prefix_tokens :]
        covered = F.adaptive_avg_pool2d(masks.float() / 255, grid).flatten(1) > 0.4
        target = torch.where(covered, labels[:, None], len(self.train.names))
        return F.cross_entropy(self.patch_head(cells).flatten(0, 1).float(), target.flatten())

    def follow_schedule(self) -> None:
        """Also set the patches kept."""
        super().follow_schedule()
        if self.config.patch_drop:
            dropped = self.progress < self.config.keep_all_from
            self.model.patch_drop.prob = self.config.patch_drop if dropped else 0.0

    def measured(self) -> str:
        every = max(len(self.held_out) // 1000, 1)  # a sample across all classes
        sample = PictureSet(self.held_out.images[::every], self.held_out.labels[::every], self.held_out.names)
        right = accuracy(self.model, sample, self.task.norm)
        return f"epoch {self.epochs:6.2f}  held-out {right:.3f} of {len(sample)}"


def build(task: Task, num_classes: int, patch_drop: float = 0.0) -> nn.Module:
    """An untrained model of the task's shape."""
    dropping = {"patch_drop_rate": patch_drop} if task.drops_patches else {}
    return timm.create_model(task.architecture, num_classes=num_classes, **dropping, **task.model_args)


def _matrices(model: nn.Module) -> list[str]:
    """The weights of the linear layers before the head, as parts of `model`."""
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    return [f"model.{name}.weight" for name in linear if not name.startswith("head")]
