"""`vitq sweep`."""

from __future__ import annotations

from typing import Annotated

import typer

from . import completing, options
from .application import command
from .many import ManyValues


@command("vitq sweep demo-vit --recipes minmax repq --bits 8 6 4 --seeds 0 1", cls=ManyValues)
def sweep(
    model: options.Model,
    recipes: Annotated[
        list[str] | None,
        typer.Option(
            help="Names of methods. Default: vitq, and ptq4sam for Segment Anything.",
            autocompletion=completing.recipes, show_default=False, metavar="NAME...",
        ),
    ] = None,
    bits: Annotated[
        list[str] | None,
        typer.Option(
            help="Bits of weights and activations, such as 4, or w4a8 for two numbers. Default: 8 6 4 3 2.",
            show_default=False, metavar="N...",
        ),
    ] = None,
    seeds: Annotated[
        list[str] | None, typer.Option(help="Random seeds. Default: 0.", show_default=False, metavar="N...")
    ] = None,
    data: options.Data = None,
    calibration: options.Calibration = None,
    judged: options.Judged = None,
    effort: options.Effort = None,
    settings: options.Settings = None,
    ray: Annotated[
        str | None,
        typer.Option(
            help="Hand the runs to the Ray cluster at this address, such as auto, whose machines see the "
            "same pictures. Default: make them here.",
            show_default=False,
        ),
    ] = None,
    device: options.Device = None,
    as_json: options.Json = False,
) -> None:  # fmt: skip
    """Make many runs: every method with every number of bits and every seed.

    Each is a run of the studio, which lists them. Runs that are there already are not made again, so that
    after a kill the same command goes on from there. Started by torchrun, all its processes share the runs.
    """
    from .ending import FAILED, Ended
    from .output import show
    from .sweeping import cells_of, swept
    from .sweeping_together import check_cluster, swept_together
    from .working import working

    check_cluster(ray)
    with working(shared=True) as work:
        cells = cells_of(
            work,
            model,
            recipes,
            bits,
            seeds,
            data,
            calibration,
            judged,
            effort,
            settings,
            work.device(device),
        )
        alone = ray is None and work.processes.size == 1
        done = swept(work, cells) if alone else swept_together(work, cells, ray)
    show(done.document(), done.text(), as_json)
    if done.failed:
        raise Ended(FAILED, f"{len(done.failed)} of {done.total} runs failed; the others are kept")
