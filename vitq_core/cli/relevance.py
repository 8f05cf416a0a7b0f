"""`vitq relevance`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import options
from .application import command


@command("vitq relevance demo-vit --limit 2 --out maps")
def relevance(
    model: options.AnyModel,
    picture: Annotated[
        list[str] | None,
        typer.Option(help="A picture to explain; may be given again for others.", show_default=False),
    ] = None,
    data: options.Pictures = None,
    limit: Annotated[
        int, typer.Option(help="Of --data, how many pictures. Default: 4.", **options.WHOLE)
    ] = 4,
    target: Annotated[
        str | None,
        typer.Option(
            help="The class to explain, by its name or number. Default: what the model answers.",
            show_default=False
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="A folder for heat maps, a .png for each picture.", **options.FOLDER)
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(help="Write the scores of the layers into a .json or .csv file.", **options.FILE),
    ] = None,
    device: options.Device = None,
    as_json: options.Json = False,
) -> None:  # fmt: skip
    """Show where in a picture an answer comes from, and which layers it depends on."""
    from .asking import check_count, writable_file, writable_folder
    from .explaining import explained
    from .output import show, table
    from .scores import document, ranked, write
    from .working import working

    check_count("--limit", limit)
    folder = writable_folder("--out", out)
    file = writable_file("--scores", scores, ".json", ".csv")
    with working() as work:
        found = explained(work, model, picture, data, limit, target, device)
        files = [] if folder is None else found.write(folder)
    if file is not None:
        write(found.importance, file)
    answers = table(found.rows(), ("picture", "answer"))
    layers = table(ranked(found.importance)[:10], ("most relevant layers", "score", "±", "share"))
    said = "\n".join([answers, "", layers, *(f"written: {each}" for each in files)])
    told = {"pictures": found.told(files), "layers": document(found.importance)}
    show(told, said, as_json)
