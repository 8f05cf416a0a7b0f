"""Sentences about a file whose tensors are not those of a model."""

from typing import NoReturn

from ...common.errors import VitqError
from .fitting import Fit
from .guess import Guess
from .names import some


def refuse(fit: Fit, where: str, what: str, guess: Guess | None = None) -> NoReturn:
    """VitqError that names what is wrong, and what shapes tell where there is a `guess`.

    `where` is the file, `what` the model.
    """
    if not fit.tensors:
        text = (
            f"no tensor of {where} belongs to {what}: it holds {some(fit.extra)}, the model has "
            f"{some(fit.missing)}"
        )
    else:
        text = f"{where} does not fit {what}: {'; '.join(_faults(fit))}"
    raise VitqError(text if guess is None else f"{text}. Its shapes are those of {guess}")


def _faults(fit: Fit) -> list[str]:
    said = []
    if fit.missing:
        said.append(f"it lacks {_tensors(len(fit.missing))} of the model ({some(fit.missing)})")
    if fit.extra:
        said.append(f"it has {_tensors(len(fit.extra))} that the model does not have ({some(fit.extra)})")
    if fit.reshaped:
        name, actual, expected = fit.reshaped[0]
        more = f", and {len(fit.reshaped) - 1} more differ" if len(fit.reshaped) > 1 else ""
        said.append(f"{name} is {_by(actual)}, the model's {_by(expected)}{more}")
    return said


def _tensors(count: int) -> str:
    return f"{count} tensor{'s' if count != 1 else ''}"


def _by(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "a single number"
