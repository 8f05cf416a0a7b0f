"""Train the bundled models: `python -m vitq_core.demo.training.train {scenes,cifar10} --out DIR`.

Small vision transformers learn slowly on a CPU, so the script uses what helps most there: Muon, mimetic
initialization, matrix products in bfloat16 where the CPU has them, and at first only half of the patches; for
scenes, whose masks are known, also the naming of every patch. All blocks run from the first step to the last.
`python -m tests.benchmarks.block_deletion --models FOLDER` shows whether the model then needs all of them.

Training ends with `--epochs` or `--minutes`, whichever is first, and the learning rate falls to zero by then.
It may be stopped at any time: `--resume` continues from the last checkpoint in `--out`, with the options it
was started with, and may be repeated. With `--minutes` out of reach the number of steps does not depend on
how fast or busy the machine is. `--export FOLDER` writes the checkpoint as a folder that timm loads.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import torch

from .card import Result, write_card
from .command import add_options, carry_out, configured
from .export import accuracy, export, load
from .tasks import TASKS
from .trainer import TrainConfig, Trainer


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """All fields of `TrainConfig`, and `out`, `resume` and `export`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", choices=list(TASKS))
    parser.add_argument(
        "--data", help="cifar10: folder or zip with train/<class>/<file> and test/<class>/<file>"
    )
    add_options(parser, TrainConfig, skip=("task", "data"))
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    options = parse(arguments)
    config = configured(options, TrainConfig)
    torch.set_num_threads(config.threads)
    trainer = Trainer(config, *TASKS[config.task].load(options.out, config.data), options.out)
    carry_out(options, trainer, partial(export_model, trainer))


def export_model(trainer: Trainer, folder: Path) -> Result:
    """Write the trainer's model and its card to `folder`; the accuracy is the written model's (fp16)."""
    task = trainer.task
    export(trainer.model, folder, task.architecture, task.model_args, trainer.train.names, task.norm)
    result = Result(
        accuracy=accuracy(load(folder), trainer.held_out, task.norm),
        held_out=len(trainer.held_out),
        train=len(trainer.train),
        epochs=trainer.epochs,
        minutes=trainer.seconds / 60,
    )
    write_card(folder, trainer.config, result)
    return result


if __name__ == "__main__":
    main()
