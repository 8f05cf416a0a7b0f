"""Train the bundled Segment Anything: `python -m vitq_core.demo.training.sam.train --out DIR`.

Pictures are scenes, small ones at first; masks are asked for by clicks and boxes, in the second half also by
corrections of what was answered. Training ends after `--minutes`; it may be stopped at any time, and
`--resume` goes on from the last checkpoint. `--export FOLDER` writes the averaged weights and their card.
"""

from __future__ import annotations

import argparse
import json
import platform
from copy import deepcopy
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file

from ...scenes import HELD_OUT_SEED
from ..command import add_options, carry_out, configured, shown
from ..tasks import TRAIN_SEED
from .measure import Found, found
from .scene_maps import drawn
from .trainer import SHAPES, SamConfig, SamTrainer

HELD_OUT = 500  # scenes that judge
PROGRAM = "python -m vitq_core.demo.training.sam.train"
CARD = """# demo-sam

A small Segment Anything (the `segment-anything` package's own classes; {params:,} parameters) for pictures
of {side} pixels, trained for VitQ Studio on scenes that `vitq_core.demo.scenes` draws, on no
photographs{start}.

- **Held-out mean IoU** over all {found.objects:,} listed objects of {found.scenes} scenes that training never
  saw (seed 2), after rounding the weights to fp16: {found.click:.3f} from one click on the most interior
  pixel, by the highest predicted IoU ({found.best:.3f} by the best of the three candidates); {found.box:.3f}
  from a tight box.
- **Training**: {config.scenes:,} scenes of seed 1, {steps:,} steps in {minutes:.0f} minutes on
  {config.threads} CPU threads, seed {config.seed}; the weights are a moving average.
- **Made with** torch {torch}, Python {python}, by

      {command}
      {program} --out training --export assets/models/demo-sam
"""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser, SamConfig)
    options = parser.parse_args(arguments)
    config = configured(options, SamConfig)
    trainer = started(config, options.out)
    carry_out(options, trainer, partial(export, trainer))


def started(config: SamConfig, out: Path) -> SamTrainer:
    """Before its first step."""
    sets = (config.scenes, TRAIN_SEED), (HELD_OUT, HELD_OUT_SEED)
    side = SHAPES[config.shape].img_size
    return SamTrainer(config, *(drawn(count, seed, side, out, config.threads) for count, seed in sets), out)


def export(trainer: SamTrainer, folder: Path) -> Found:
    """Write the averaged model in fp16 to `folder`, with a card of how good that is."""
    folder.mkdir(parents=True, exist_ok=True)
    sam = deepcopy(trainer.average.module)
    half = {name: value.to(torch.float16).contiguous() for name, value in sam.state_dict().items()}
    sam.load_state_dict({name: value.float() for name, value in half.items()})
    result = found(sam, trainer.held_out)
    save_file(half, folder / "model.safetensors", metadata={"format": "pt"})
    described = {"architecture": "segment_anything", "shape": trainer.shape.as_dict()}
    (folder / "config.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(_card(trainer, result), encoding="utf-8")
    return result


def _card(trainer: SamTrainer, result: Found) -> str:
    config = trainer.config
    return CARD.format(
        found=result,
        side=trainer.shape.img_size,
        config=config,
        params=sum(parameter.numel() for parameter in trainer.sam.parameters()),
        start=_beginning(trainer),
        steps=trainer.step,
        minutes=trainer.seconds / 60,
        torch=torch.__version__.split("+")[0],
        python=platform.python_version(),
        command=shown(PROGRAM, config),
        program=PROGRAM,
    )


def _beginning(trainer: SamTrainer) -> str:
    if not trainer.config.start:
        return ""
    taken = "all weights" if trainer.skipped else "the blocks"
    return f", beginning with {taken} of {Path(trainer.config.start).name}"


if __name__ == "__main__":
    main()
