"""`vitq evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import completing, options
from .application import command


@command("vitq evaluate demo-vit --limit 64")
def evaluate(
    model: options.AnyModel,
    data: options.Pictures = None,
    reference: Annotated[
        str | None,
        typer.Option(
            help="What to compare with: a model, a run or a folder. Default for a run: its model in full "
            "precision.",
            autocompletion=completing.runs_or_models,
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(help="At most so many pictures. Default: all of --data, else 256.", **options.WHOLE),
    ] = None,
    held_out: Annotated[
        bool,
        typer.Option(
            "--held-out",
            help="Only the pictures of --data that `vitq quantize` judges by, not those it calibrates on.",
        ),
    ] = False,
    state: Annotated[
        Path | None,
        typer.Option(
            help="A file that keeps what was counted; stopped or killed, the same command goes on from it. "
            "Default: none, and one of its own in VITQ_HOME where many processes share the work.",
            **options.FILE,
        ),
    ] = None,
    device: options.Device = None,
    as_json: options.Json = False,
) -> None:
    """Measure how good a model is on pictures, and how much like another one it answers.

    Started by torchrun, all its processes share the pictures.
    """
    from .asking import writable_file
    from .judging import judge
    from .output import facts, plain, show
    from .report import evaluation_rows
    from .working import working

    state = writable_file("--state", state)
    with working(shared=True) as work:
        found = judge(work, model, data, reference, limit, held_out, device, state)
    for sentence in found.sentences:
        work.say(sentence)
    show(
        {"model": model, "reference": found.reference, "about": found.about, **plain(found.measured)},
        facts(evaluation_rows(found.measured)), as_json,
    )  # fmt: skip
