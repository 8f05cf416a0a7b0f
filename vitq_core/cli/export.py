"""`vitq export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import completing, options
from .application import command


@command("vitq export last --format packed --out to-deploy")
def export(
    run: options.Quantized,
    out: Annotated[Path, typer.Option(help="The folder to write into.", **options.FOLDER)],
    format: Annotated[
        str,
        typer.Option(
            help="onnx and openvino compute with integers, and hold only evenly spaced codes (`vitq quantize "
            "--integer`); torch is torch.export's, packed is VitQ's own smallest file.",
            autocompletion=completing.formats,
        ),
    ] = "packed",
    data: options.Pictures = None,
    limit: Annotated[
        int,
        typer.Option(
            help="How many pictures to compare file and model on. Default: 64, or 8 scenes for "
            "Segment Anything.",
            **options.WHOLE,
        ),
    ] = 0,
    as_json: options.Json = False,
) -> None:
    """Write a quantized model as a file for other programs, and prove that it answers as the model does.

    The file is loaded again and compared on pictures before it takes its name; what was found is its
    certificate.
    """
    import vitq_core as vq

    from .asking import check_count, writable_folder
    from .certifying import FORMATS, certified, facts_of
    from .output import show
    from .working import working

    name = FORMATS.get(format, format)
    vq.EXPORTERS[name]
    folder = writable_folder("--out", out)
    if limit:
        check_count("--limit", limit)
    with working() as work:
        certificate = certified(work, run, folder, name, data, limit)
    document = {**certificate.to_json(), "path": str(certificate.path)}
    show(document, facts_of(certificate), as_json)
