"""`vitq reproduce`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import options
from .application import command
from .many import ManyValues


@command("vitq reproduce --table 3 --models demo-vit --limit 64", cls=ManyValues)
def reproduce(
    table: Annotated[
        str,
        typer.Option(
            help="Which table: 1 (all methods), 3 (inputs behind a LayerNorm), 4 (more bits for the first "
            "blocks), 5 (the same average) of LRP-QViT, or adfq. Default: 1.",
            show_default=False,
        ),
    ] = "1",
    models: Annotated[
        list[str] | None,
        typer.Option(
            help="The paper's models, such as deit_small or DeiT-S, or others, such as demo-vit. Default: "
            "all of the table.",
            show_default=False, metavar="NAME...",
        ),
    ] = None,
    methods: Annotated[
        list[str] | None,
        typer.Option(help="Only these rows of the table, such as RepQ-ViT. Default: all.", show_default=False,
                     metavar="NAME..."),
    ] = None,
    data: options.Pictures = None,
    calibration_data: Annotated[
        str | None,
        typer.Option(
            help="A folder or .zip to calibrate on, such as ImageNet's training part; all of --data is "
            "judged by then.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            help="A trial: judge by so many pictures, calibrate on an eighth as many at most, and make "
            "pictures of noise in few steps. Default: everything as in the papers.",
            **options.WHOLE,
        ),
    ] = None,
    calibration: Annotated[
        int | None,
        typer.Option(help="How many pictures to calibrate on. Default: as each paper.", **options.WHOLE),
    ] = None,
    effort: options.Effort = None,
    seed: options.Seed = 0,
    random_weights: Annotated[
        bool,
        typer.Option(
            "--random-weights",
            help="Download nothing, and take random weights: for the time and the memory that it takes.",
        ),
    ] = False,
    results: Annotated[
        Path | None,
        typer.Option(
            help="The folder that keeps what is measured. Default: with VitQ's other files.",
            **options.FOLDER,
        ),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(help="Write the table into a .md, .html or .json file too.", **options.FILE),
    ] = None,
    device: options.Device = None,
    as_json: options.Json = False,
) -> None:  # fmt: skip
    """Measure the papers' tables again, beside what the papers print.

    Each cell is kept as soon as it is measured: stopped or killed, the same command goes on from there. The
    numbers are those of ImageNet, so --data should be it: a folder with the parts train and val.
    """
    from .asking import check_seed, writable_file, writable_folder
    from .output import show
    from .reproduced import saved, shown
    from .reproducing import Wanted, measured
    from .working import working

    check_seed(seed)
    place = writable_file("--save", save, ".md", ".html", ".json")
    wanted = Wanted(
        table, models, methods, data, calibration_data, limit, calibration, effort, seed, random_weights,
        writable_folder("--results", results), device,
    )  # fmt: skip
    with working(shared=True) as work:
        found = measured(work, wanted)
    if place is not None:
        saved(found, place)
    show(found.document(), shown(found), as_json)
