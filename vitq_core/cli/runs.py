"""`vitq runs`: what the studio and the command line have made."""

from __future__ import annotations

from typing import Annotated

import typer

from . import completing, options
from .application import command, program

group = typer.Typer(no_args_is_help=True, help="List, show, compare and delete the runs that are kept.")
program.add_typer(group, name="runs")

Run = Annotated[
    str,
    typer.Argument(
        help="The id of a run or its beginning; `last` is the newest.",
        autocompletion=completing.runs, show_default=False, metavar="RUN",
    ),
]  # fmt: skip


@command("vitq runs list --model demo-vit", into=group, name="list")
def list_runs(
    model: Annotated[
        str | None,
        typer.Option(help="Only runs of this model.", autocompletion=completing.models, show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option(help="At most so many. Default: 50.", **options.WHOLE)] = 50,
    as_json: options.Json = False,
) -> None:
    """List the runs of the studio and of the command line, newest first."""
    from vitq_core.experiment.runs import RunStore

    from .asking import check_count
    from .bench import EVERYBODY
    from .output import show, table
    from .report import HEADS, document, row

    check_count("--limit", limit)
    every = RunStore().all((EVERYBODY,))
    found = [record for record in every if model in (None, record.model)][:limit]
    if model is not None and not found:
        known = ", ".join(dict.fromkeys(record.model for record in every)) or "no model"
        raise ValueError(f"there are no runs of {model!r:.80}; there are some of {known}")
    said = table(map(row, found), HEADS) if found else "There are no runs yet; `vitq quantize` makes one."
    show([document(record) for record in found], said, as_json)


@command("vitq runs show last", into=group, name="show")
def show_run(run: Run, as_json: options.Json = False) -> None:
    """Show one run: what was asked, what was measured, and what it was made of."""
    from .output import facts, show
    from .report import document, text
    from .targets import the_run

    record = the_run(run)
    made_of = {name: str(value) for name, value in record.made_of.items() if name != "versions"}
    versions = ", ".join(f"{name} {each}" for name, each in record.made_of.get("versions", {}).items())
    more = facts([*made_of.items(), ("versions", versions)])
    show(document(record), f"{text(record)}\n\n{more}", as_json)


@command("vitq runs compare last 3f2a", into=group, name="compare")
def compare_runs(run: Run, other: Run, as_json: options.Json = False) -> None:
    """Show two runs side by side, and every number in which they differ."""
    from vitq_core.experiment.runs.rerun import differences

    from .output import show, table
    from .report import HEADS, document, row
    from .targets import the_run

    both = [the_run(each) for each in (run, other)]
    changed = [
        *differences(both[0].made_of, both[1].made_of),
        *differences(both[0].asked.as_dict(), both[1].asked.as_dict()),
        *differences(both[0].results, both[1].results),
    ]
    lines = [line.replace(" then, ", " in the first, ").removesuffix(" now") for line in changed]
    lines = [f"{line} in the second" for line in lines]
    said = f"{table(map(row, both), HEADS)}\n\n" + ("\n".join(lines) or "Every number is the same.")
    show({"runs": [document(each) for each in both], "differences": lines}, said, as_json)


@command("vitq runs delete 3f2a", into=group, name="delete")
def delete_runs(
    runs: Annotated[
        list[str],
        typer.Argument(
            help="The ids of runs or their beginnings.", autocompletion=completing.runs,
            show_default=False, metavar="RUN...",
        ),
    ],
    as_json: options.Json = False,
) -> None:  # fmt: skip
    """Delete runs for good, here and in the studio."""
    from vitq_core.experiment.runs import RunStore

    from . import kept
    from .output import show
    from .targets import the_run

    store = RunStore()
    records = {record.id: record for record in (the_run(name, store) for name in runs)}
    for record in records.values():
        store.delete(record.id)
        kept.forget(record.key)
    said = "\n".join(f"deleted {record.id} {record.name}" for record in records.values())
    show({"deleted": list(records)}, said, as_json)
