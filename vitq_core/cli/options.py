"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from . import completing


def whole(given: Any) -> int:
    """A whole number as it is typed."""
    try:
        return int(given)
    except ValueError as error:
        raise typer.BadParameter(f"it must be a whole number, got {given!r:.80}") from error


def number(given: Any) -> float:
    """A number as it is typed."""
    try:
        return float(given)
    except ValueError as error:
        raise typer.BadParameter(f"it must be a number, got {given!r:.80}") from error


def place(given: Any) -> Path:
    """A file or folder as it is typed, `~` left to the engine."""
    if not str(given).strip() or "\0" in str(given):
        raise typer.BadParameter(f"it must name a file or folder, got {given!r:.80}")
    return Path(given)


def elsewhere(given: Any) -> str:
    """What another machine knows, as it is typed: in one line."""
    if not str(given).strip() or not str(given).isprintable():
        raise typer.BadParameter(f"it must be one line of text, got {given!r:.80}")
    return str(given)


WHOLE = {"parser": whole, "metavar": "N", "show_default": False}
NUMBER = {"parser": number, "metavar": "X", "show_default": False}
FILE = {"parser": place, "metavar": "FILE", "show_default": False}
FOLDER = {"parser": place, "metavar": "FOLDER", "show_default": False}
ELSEWHERE = {"parser": elsewhere, "metavar": "TEXT", "show_default": False}

Model = Annotated[
    str,
    typer.Argument(
        help="A model: an id of `vitq models`, a folder or file of weights, or hf-hub:user/name of the "
        "Hugging Face hub.",
        autocompletion=completing.models, show_default=False, metavar="MODEL",
    ),
]  # fmt: skip
Quantized = Annotated[
    str,
    typer.Argument(
        help="The id of a run (`vitq runs list`; `last` is the newest), or the folder of a quantized model.",
        autocompletion=completing.runs, show_default=False, metavar="RUN_OR_FOLDER",
    ),
]  # fmt: skip
AnyModel = Annotated[
    str,
    typer.Argument(
        help="A model as for `vitq quantize`, the id of a run, or the folder of a quantized model.",
        autocompletion=completing.runs_or_models, show_default=False, metavar="MODEL_OR_FOLDER",
    ),
]  # fmt: skip
Data = Annotated[
    str | None,
    typer.Option(
        help="A folder or .zip of pictures, with a folder for each class where they are labelled, a data set "
        "of the hub (hf://datasets/user/name), or `generated`: made from noise by the model. Without it the "
        "pictures that come with VitQ.",
        show_default=False,
    ),
]  # fmt: skip
Pictures = Annotated[
    str | None,
    typer.Option(
        "--data",
        help="A folder or .zip of pictures, with a folder for each class where they are labelled, or a data "
        "set of the hub (hf://datasets/user/name). Without it the pictures that come with VitQ.",
        show_default=False,
    ),
]  # fmt: skip
Recipe = Annotated[
    str | None,
    typer.Option(
        help="The method's name, such as repq or adfq. Default: vitq, and ptq4sam for Segment Anything.",
        autocompletion=completing.recipes, show_default=False,
    ),
]  # fmt: skip
WeightBits = Annotated[int | None, typer.Option(help="Bits of a weight, 2 to 8. Default: 4.", **WHOLE)]
ActBits = Annotated[int | None, typer.Option(help="Bits of an activation, 2 to 8. Default: 4.", **WHOLE)]
Effort = Annotated[
    str | None,
    typer.Option(
        help="How long to repair the rounding damage after calibrating: none, quick, standard or paper. "
        "Default: none.",
        autocompletion=completing.efforts, show_default=False,
    ),
]  # fmt: skip
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="OPTION=VALUE", show_default=False, autocompletion=completing.settings,
        help="An option of the method or of its fine-tuning, such as alpha=0.1 or iterations=100; may be "
        "given again for others.",
    ),
]  # fmt: skip
RecipeFile = Annotated[
    Path | None,
    typer.Option(
        help="A recipe that was written by --save-recipe or by hand, .json or .toml; what else is given here "
        "takes the place of what it says.",
        **FILE,
    ),
]  # fmt: skip
SaveRecipe = Annotated[
    Path | None,
    typer.Option(help="Write the recipe, with all its options and bits, into a .json or .toml file.", **FILE),
]
Integer = Annotated[
    bool,
    typer.Option(
        "--integer",
        help="Take the nearest recipe of evenly spaced codes alone, which onnx and openvino can hold.",
    ),
]
Calibration = Annotated[
    int | None,
    typer.Option(
        help="How many pictures to measure ranges on and to learn from. Default: 32, or what the effort "
        "learns from; 8 scenes for Segment Anything.",
        **WHOLE,
    ),
]  # fmt: skip
Judged = Annotated[
    int | None,
    typer.Option(
        help="How many held-out pictures to judge by. Default: 256, or 64 scenes for Segment Anything.",
        **WHOLE,
    ),
]
Seed = Annotated[int, typer.Option(help="Decides everything that is random. Default: 0.", **WHOLE)]
Device = Annotated[
    str | None,
    typer.Option(help="Where to compute: cpu, cuda, cuda:0 or mps. Default: cpu.", show_default=False),
]
Out = Annotated[Path | None, typer.Option(help="The folder to save the quantized model in.", **FOLDER)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
