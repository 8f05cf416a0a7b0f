"""What every training of a bundled model does: end on time, survive interruptions, lower the rate."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...common.files import replace_file

CHECKPOINT = "checkpoint.pt"
PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """What decides how long and how fast a model learns.

    `warmup`: the share of the whole training until which the learning rate rises. `precision` is that of the
    matrix products; weights and losses are always float32.
    """

    minutes: float = 90
    seed: int = 0
    threads: int = 1
    batch_size: int = 128
    lr: float = 3e-3
    weight_decay: float = 0.1
    warmup: float = 0.03
    precision: str = "float32"
    checkpoint_minutes: float = 3
    report_minutes: float = 5

    def __post_init__(self) -> None:
        for name in ("minutes", "batch_size", "threads", "lr"):
            self.check_positive(name)
        self.check_share("warmup")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision must be {' or '.join(PRECISIONS)}, not {self.precision!r}")

    def check_positive(self, name: str) -> None:
        """Raises ValueError where this field is not above 0."""
        if getattr(self, name) <= 0:
            raise ValueError(f"{name} must be positive, not {getattr(self, name)}")

    def check_share(self, name: str) -> None:
        """Raises ValueError where this field is no share."""
        if not 0 <= getattr(self, name) < 1:
            raise ValueError(f"{name} must be at least 0 and below 1, not {getattr(self, name)}")

    def options(self) -> dict[str, Any]:
        """The options that differ from their defaults."""
        given = {f.name: (getattr(self, f.name), f.default) for f in fields(self) if f.default is not MISSING}
        return {name: value for name, (value, default) in given.items() if value != default}


class Loop(ABC):
    """One training. `parts`: the modules by name, `optimizers` theirs; both and how far they are lie in a
    checkpoint in the folder `out`. `step` counts batches, `seconds` the time they took.
    """

    def __init__(
        self,
        config: LoopConfig,
        parts: Mapping[str, nn.Module],
        optimizers: Sequence[torch.optim.Optimizer],
        out: Path,
    ) -> None:
        self.config, self.parts, self.optimizers = config, dict(parts), list(optimizers)
        self.checkpoint = Path(out) / CHECKPOINT
        self.step, self.seconds = 0, 0.0
        self.losses: list[float] = []

    @property
    def progress(self) -> float:
        """Share of the training that is done."""
        return self.seconds / (60 * self.config.minutes)

    @abstractmethod
    def train_step(self) -> float:
        """The next batch; returns its loss."""

    @abstractmethod
    def measured(self) -> str:
        """What the model can do so far, for the log."""

    def run(self) -> None:
        """Train to the end, saving and reporting on the way."""
        saved = reported = self.seconds
        while self.progress < 1:
            begin = time.monotonic()
            self.follow_schedule()
            self.losses.append(self.train_step())
            self.step += 1
            self.seconds += time.monotonic() - begin
            if self.seconds - saved > 60 * self.config.checkpoint_minutes:
                self.save()
                saved = self.seconds
            if self.seconds - reported > 60 * self.config.report_minutes:
                self.report()
                reported = self.seconds
        self.save()
        self.report()

    def follow_schedule(self) -> None:
        """Set the learning rate: a linear rise, then a linear fall to zero."""
        progress, config = self.progress, self.config
        rising = progress < config.warmup
        scale = max(progress, 1e-3) / config.warmup if rising else (1 - progress) / (1 - config.warmup)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = config.lr * scale

    def products(self) -> AbstractContextManager:
        """Inside, matrix products are of the configured precision."""
        return torch.autocast("cpu", torch.bfloat16, enabled=self.config.precision == "bfloat16")

    def update(self, loss: torch.Tensor) -> None:
        """One step of all optimizers down its gradient."""
        loss.backward()
        self.descend()

    def descend(self) -> None:
        """One step of all optimizers down the gradients that are there."""
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()

    def report(self) -> None:
        """A line of the log."""
        recent = self.losses[-100:]
        print(
            f"{self.seconds / 60:6.1f} min  progress {self.progress:.3f}  step {self.step}  "
            f"loss {sum(recent) / max(len(recent), 1):.3f}  {self.measured()}",
            flush=True,
        )

    def save(self) -> None:
        """Write the checkpoint; an interruption never leaves half of one."""
        state = {
            "parts": {name: part.state_dict() for name, part in self.parts.items()},
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
            "seconds": self.seconds,
        }
        replace_file(self.checkpoint, lambda path: torch.save(state, path))

    def resume(self) -> None:
        """Take everything from the checkpoint, so that training can go on."""
        if not self.checkpoint.exists():
            raise ValueError(f"there is no checkpoint in {self.checkpoint.parent}")
        state = torch.load(self.checkpoint, weights_only=True)
        for name, part in self.parts.items():
            part.load_state_dict(state["parts"][name])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.seconds = state["step"], state["seconds"]


def generator_of(seed: int, position: int) -> torch.Generator:
    """The random numbers of one place in a training, the same after an interruption."""
    return torch.Generator().manual_seed(seed * 1_000_003 + position)
