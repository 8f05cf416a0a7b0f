"""`vitq importance`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import completing, options
from .application import command


@command("vitq importance demo-vit --source fisher --pictures 8 --out scores.json")
def importance(
    model: options.Model,
    source: Annotated[
        str,
        typer.Option(
            help="What ranks layers: relevance (how much the answer depends on each), fisher (how much "
            "an error would move the answer) or sqnr (rounding noise alone).",
            autocompletion=completing.sources,
        ),
    ] = "relevance",
    data: options.Pictures = None,
    pictures: Annotated[int, typer.Option(help="From how many pictures. Default: 64.", **options.WHOLE)] = 64,
    seed: options.Seed = 0,
    state: Annotated[
        Path | None,
        typer.Option(
            help="The file that keeps what was gathered; stopped or killed, the same command goes on from "
            "it. Default: one of its own in VITQ_HOME.",
            **options.FILE,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write the scores into a .json (which `vitq allocate` reads) or .csv file.", **options.FILE
        ),
    ] = None,
    device: options.Device = None,
    as_json: options.Json = False,
) -> None:
    """Score every layer of a model by how much its bits matter.

    Started by torchrun, all its processes share the pictures.
    """
    from .asking import check_count, check_seed, writable_file
    from .output import show, table
    from .scores import document, ranked, scored, write
    from .working import working

    check_count("--pictures", pictures)
    check_seed(seed)
    file = writable_file("--out", out, ".json", ".csv")
    state = writable_file("--state", state)
    with working(shared=True) as work:
        found = scored(work, model, source, data, pictures, seed, state, device)
    if file is not None:
        write(found, file)
    layers = table(ranked(found), ("layer", "score", "±", "share"))
    said = f"{found.source}, from {found.pictures} pictures\n{layers}"
    show(document(found), said, as_json)
