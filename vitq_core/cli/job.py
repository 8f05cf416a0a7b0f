"""`vitq job`."""

from __future__ import annotations

from typing import Annotated

import typer

from . import options
from .application import command


@command(
    "vitq job slurm --nodes 4 --processes 16 --data /shared/val -- evaluate deit-small --data /shared/val"
)
def job(
    kind: Annotated[
        str, typer.Argument(help="slurm (for sbatch) or kubernetes (for kubectl apply).", show_default=False)
    ],
    words: Annotated[
        list[str],
        typer.Argument(
            help="The command that the machines run, behind --: evaluate, importance, sweep or reproduce, "
            "with its options.",
            show_default=False, metavar="-- COMMAND...",
        ),
    ],
    nodes: Annotated[int, typer.Option(help="How many machines. Default: 1.", **options.WHOLE)] = 1,
    processes: Annotated[
        int, typer.Option(help="How many processes on each machine. Default: 1.", **options.WHOLE)
    ] = 1,
    threads: Annotated[
        int, typer.Option(help="How many threads each process has. Default: 1.", **options.WHOLE)
    ] = 1,
    gpus: Annotated[
        bool, typer.Option("--gpus", help="Give every process a graphics processor of its own.")
    ] = False,
    hours: Annotated[int, typer.Option(help="The most it may take. Default: 24.", **options.WHOLE)] = 24,
    image: Annotated[
        str | None,
        typer.Option(
            help="The container's image, which Kubernetes needs; with Slurm it may be left out.",
            **options.ELSEWHERE,
        ),
    ] = None,
    data: Annotated[
        str,
        typer.Option(
            help="The folder of pictures that all machines see; with Kubernetes also pvc:NAME, a claim, "
            "which the command sees as /data. Default: /data.",
            **options.ELSEWHERE,
        ),
    ] = "/data",
    results: Annotated[
        str,
        typer.Option(
            help="The same for what is kept, from which a job that is started again goes on. Default: "
            "/results.",
            **options.ELSEWHERE,
        ),
    ] = "/results",
    name: Annotated[
        str, typer.Option(help="The job's name. Default: vitq.", **options.ELSEWHERE)
    ] = "vitq",
) -> None:  # fmt: skip
    """Print a job file that runs a command on many machines, for Slurm or Kubernetes.

    The command is run by torchrun in every process; they share the work.
    """
    from vitq_core.experiment.jobs import job_file

    from .jobs import check_shared

    check_shared(words)
    given = {"nodes": nodes, "processes": processes, "threads": threads, "gpus": gpus, "hours": hours}
    places = {"image": image or "", "data": data, "results": results, "name": name}
    typer.echo(job_file(kind, ["vitq_core", *words], **given, **places).rstrip("\n"))
