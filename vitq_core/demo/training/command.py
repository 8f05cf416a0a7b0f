"""The command line of a training: start one, go on with it, or export what it has learned."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Collection
from dataclasses import asdict, fields
from pathlib import Path
from typing import TypeVar, get_type_hints

from .loop import Loop, LoopConfig

FOLDERS = ("data", "start")  # of these only the name is shown, not where they were
C = TypeVar("C", bound=LoopConfig)
SWITCHES = ("out", "resume", "export")
STORED = "config.json"


def add_options(
    parser: argparse.ArgumentParser, config: type[LoopConfig], skip: Collection[str] = ()
) -> None:
    """`out`, `resume`, `export`, and the fields of `config` without those of `skip`."""
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints and drawn scenes")
    types = get_type_hints(config)
    for field in fields(config):
        if field.name not in skip:
            name = f"--{field.name.replace('_', '-')}"
            parser.add_argument(name, type=types[field.name], default=field.default)
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    parser.add_argument(
        "--export", type=Path, help="write the checkpoint in --out to this folder; no training"
    )


def configured(options: argparse.Namespace, config: type[C]) -> C:
    """The configuration from the command line, or the stored one of the run that goes on or is exported.

    Raises ValueError where there is no such run.
    """
    stored = options.out / STORED
    if options.resume or options.export:
        if not stored.exists():
            raise ValueError(f"there is no training in {options.out} to go on from")
        return config(**json.loads(stored.read_text(encoding="utf-8")))
    made = config(**{k: v for k, v in vars(options).items() if k not in SWITCHES})
    options.out.mkdir(parents=True, exist_ok=True)
    stored.write_text(json.dumps(asdict(made), indent=2) + "\n", encoding="utf-8")
    return made


def carry_out(options: argparse.Namespace, trainer: Loop, export: Callable[[Path], object]) -> None:
    """Train, or go on with it, or ``export`` to the folder that the command names."""
    if options.resume or options.export:
        trainer.resume()
    if options.export:
        print(export(options.export))
    else:
        trainer.run()


def shown(program: str, config: LoopConfig) -> str:
    """The command line that starts this training."""
    options = {k: Path(v).name if k in FOLDERS else v for k, v in config.options().items()}
    return f"{program} --out training" + "".join(
        f" --{name.replace('_', '-')} {value}" for name, value in options.items()
    )
