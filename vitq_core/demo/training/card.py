"""The README of a bundled model: what it is, what it learned from, how well it does and what made it."""

import platform
from dataclasses import dataclass
from pathlib import Path

import timm
import torch

from .command import shown
from .tasks import TASKS
from .trainer import TrainConfig

PROGRAM = "python -m vitq_core.demo.training.train"

CARD = """# {model}

{about}

- **Architecture**: timm `{architecture}` with {model_args}; {pooled}; {names} classes.
- **Held-out accuracy**: {accuracy:.2%} top-1 on {held_out:,} pictures that training never saw, measured after
  rounding the weights to fp16 (95 % confidence: ±{margin:.2%}).
- **Training**: {train:,} pictures, {epochs:.1f} epochs in {minutes:.0f} minutes on {threads} CPU thread(s),
  seed {seed}.
- **Made with** torch {torch}, timm {timm}, Python {python}, by

      {command}
      {export}

{ended}Load it with `timm.create_model("local-dir:assets/models/{model}", pretrained=True)`. Pixels are
scaled to 0..1, then normalized with mean {mean} and standard deviation {std};
`config.json` names the classes (`label_names`).
"""

BY_THE_CLOCK = "  The clock ended the first command: a faster machine trains longer, to a better model.\n\n"


@dataclass(frozen=True)
class Result:
    """What training achieved: `accuracy` 0..1 on `held_out` pictures, after `epochs` of `train` pictures."""

    accuracy: float
    held_out: int
    train: int
    epochs: float
    minutes: float


def write_card(folder: Path, config: TrainConfig, result: Result) -> None:
    """Write `README.md` to `folder`."""
    task = TASKS[config.task]
    mean, std = task.norm
    text = CARD.format(
        **vars(result),
        model=task.model,
        about=task.about,
        architecture=task.architecture,
        model_args=", ".join(f"{k} {v}" for k, v in task.model_args.items()),
        pooled=task.pooled,
        names=task.num_classes,
        margin=1.96 * (result.accuracy * (1 - result.accuracy) / result.held_out) ** 0.5,
        threads=config.threads,
        seed=config.seed,
        torch=torch.__version__.split("+")[0],
        timm=timm.__version__,
        python=platform.python_version(),
        command=shown(f"{PROGRAM} {config.task}", config),
        export=f"{PROGRAM} {config.task} --out training --export assets/models/{task.model}",
        ended="" if result.epochs >= config.epochs else BY_THE_CLOCK,
        mean=mean,
        std=std,
    )
    (folder / "README.md").write_text(text, encoding="utf-8")
