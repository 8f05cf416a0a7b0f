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

import argparse
import json
from dataclasses import asdict, fields
from pathlib import Path

import torch

from .card import Result, write_card
from .export import accuracy, export, load
from .tasks import TASKS
from .trainer import TrainConfig, Trainer

SWITCHES = ("out", "resume", "export")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """All fields of `TrainConfig`, and `out`, `resume` and `export`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", choices=list(TASKS))
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints and drawn scenes")
    parser.add_argument(
        "--data", help="cifar10: folder or zip with train/<class>/<file> and test/<class>/<file>"
    )
    for field in fields(TrainConfig)[2:]:
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=field.type, default=field.default)
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    parser.add_argument(
        "--export", type=Path, help="write the checkpoint in --out to this folder; no training"
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    options = parse(arguments)
    config = _config(options)
    torch.set_num_threads(config.threads)
    trainer = Trainer(config, *TASKS[config.task].load(options.out, config.data), options.out)
    if options.export:
        trainer.load()
        print(export_model(trainer, options.export))
        return
    if options.resume:
        trainer.resume()
    trainer.run()


def _config(options: argparse.Namespace) -> TrainConfig:
    """The configuration from the command line, or the stored one of the run that goes on or is exported."""
    stored = options.out / "config.json"
    if options.resume or options.export:
        if not stored.exists():
            raise ValueError(f"there is no training in {options.out} to go on from")
        return TrainConfig(**json.loads(stored.read_text(encoding="utf-8")))
    config = TrainConfig(**{k: v for k, v in vars(options).items() if k not in SWITCHES})
    options.out.mkdir(parents=True, exist_ok=True)
    stored.write_text(json.dumps(asdict(config), indent=2) + "\n", encoding="utf-8")
    return config


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
