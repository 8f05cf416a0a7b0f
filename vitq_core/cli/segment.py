"""`vitq segment`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import completing, options
from .application import command


@command("vitq segment demo-sam photo.png --point 30,40 --out mask.png")
def segment(
    model: Annotated[
        str,
        typer.Argument(
            help="A Segment Anything: a model such as sam-vit-b, the id of a run, or the folder of a "
            "quantized one.",
            autocompletion=completing.runs_or_models, show_default=False, metavar="MODEL_OR_FOLDER",
        ),
    ],
    picture: Annotated[str, typer.Argument(help="The picture's file.", show_default=False)],
    point: Annotated[
        list[str] | None,
        typer.Option(
            help="A click at x,y on the object, in pixels from the upper left; x,y,0 is one beside it. May "
            "be given again.",
            show_default=False, metavar="X,Y[,LABEL]",
        ),
    ] = None,
    box: Annotated[
        list[str] | None,
        typer.Option(
            help="A box around an object; given again, each is an object of its own.",
            show_default=False, metavar="X0,Y0,X1,Y1",
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--everything", help="Find all objects, with clicks everywhere.")
    ] = False,
    points_per_side: Annotated[
        int | None,
        typer.Option(help="With --everything, clicks along a side. Default: 32.", **options.WHOLE),
    ] = None,
    min_region: Annotated[
        int | None,
        typer.Option(
            help="With --everything, pixels below which pieces and holes are cleaned away. Default: 0.",
            **options.WHOLE,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="A .png (white is the object; of several, grey level 1 is the first, 2 the second, …) or a "
            ".json with COCO's run lengths.",
            **options.FILE,
        ),
    ] = None,
    device: options.Device = None,
    as_json: options.Json = False,
) -> None:  # fmt: skip
    """Outline the objects that clicks and boxes point at, or all there are."""
    from .asking import writable_file
    from .masks import Question, answered
    from .output import show, table
    from .working import working

    file = writable_file("--out", out, ".png", ".json")
    question = Question.of(picture, point, box, everything, points_per_side, min_region)
    with working() as work:
        found = answered(work, model, question, device)
    if file is not None:
        found.write(file)
    said = table(found.rows(), ("object", "pixels", "box", "believed IoU"))
    show({**found.document(), "out": None if file is None else str(file)}, said, as_json)
