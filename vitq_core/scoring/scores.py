"""Scores per layer with their standard errors, gathered in constant memory; stored as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from math import isfinite, sqrt
from pathlib import Path

from torch import Tensor

from ..common.files import given_path, write_atomically
from ..common.records import Record


class _Unfit(ValueError):
    """Why a text is no stored importance."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"this is not stored importance: {reason}")


@dataclass(frozen=True)
class Importance(Record):
    """``layer_scores``: {layer: contribution C}, the mean over ``pictures`` of what ``source`` says of it.

    ``standard_errors``: {layer: deviation of that mean}, NaN for a single picture: when they are small beside
    the differences between layers, enough pictures have been seen. ``attention_scores``: the same for the
    attention maps (``….attn.softmax``), where the source gives them.
    """

    source: str
    pictures: int
    layer_scores: dict[str, float]
    standard_errors: dict[str, float]
    attention_scores: dict[str, float]

    @property
    def relative(self) -> dict[str, float]:
        """{layer: Ω}: the scores divided by their sum; all equal where the sum is 0."""
        total = sum(self.layer_scores.values())
        equal = 1 / max(len(self.layer_scores), 1)
        return {layer: score / total if total else equal for layer, score in self.layer_scores.items()}

    @property
    def relative_error(self) -> float:
        """The median over the layers of standard error / score; NaN for a single picture."""
        shares = sorted(
            self.standard_errors[layer] / score for layer, score in self.layer_scores.items() if score
        )
        return shares[len(shares) // 2] if shares else float("nan")

    def to_json(self) -> str:
        """:meth:`from_json` gives an equal one back; NaN is written as null."""
        data = asdict(self)
        errors = data["standard_errors"]
        data["standard_errors"] = {k: v if isfinite(v) else None for k, v in errors.items()}
        return json.dumps(data, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Importance:
        """Raises ValueError for text that is not stored importance."""
        try:
            data = json.loads(text)
        except (TypeError, ValueError, RecursionError) as error:
            raise _Unfit("the text is damaged or not JSON") from error
        try:
            data["standard_errors"] = {
                k: float("nan") if v is None else float(v) for k, v in data["standard_errors"].items()
            }
            for name in ("layer_scores", "attention_scores"):
                data[name] = {str(layer): float(score) for layer, score in data[name].items()}
            if data["standard_errors"].keys() != data["layer_scores"].keys():
                raise _Unfit("scores and standard errors are of different layers")
            if (
                not isinstance(data["source"], str)
                or type(data["pictures"]) is not int
                or data["pictures"] < 1
            ):
                raise _Unfit("source must be a name and pictures a whole number above 0")
            scores = (*data["layer_scores"].values(), *data["attention_scores"].values())
            if not all(map(isfinite, scores)):
                raise _Unfit("scores must be finite numbers")
            return cls(**data)
        except _Unfit:
            raise
        except KeyError as error:
            raise _Unfit(f"it has no {error}") from error
        except (TypeError, AttributeError, ValueError, OverflowError) as error:  # Python's words are no help
            raise _Unfit("scores and standard errors must be {layer: number}, and nothing else") from error

    def save(self, path: str | Path) -> None:
        """Write as JSON; VitqError where that cannot be, ValueError for what names no file."""
        path = given_path(path, "the file of scores")
        write_atomically(path, lambda temporary: temporary.write_text(self.to_json()), "the scores")

    @classmethod
    def load(cls, path: str | Path) -> Importance:
        """Read what :meth:`save` wrote; ValueError for anything else."""
        try:
            return cls.from_json(given_path(path, "the file of scores").read_text())
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"importance cannot be read from {path}: {error}") from error


def checked_state(state: dict[str, list[float]]) -> dict[str, list[float]]:
    """A stored :class:`Tally`'s; raises ValueError or TypeError for what cannot be one."""
    checked = {str(name): [int(count), float(mean), float(sq)] for name, (count, mean, sq) in state.items()}
    if len({count for count, _, _ in checked.values()}) != 1:
        raise ValueError("the layers have seen different numbers of pictures")
    if not all(
        count > 0 and isfinite(mean) and 0 <= sq < float("inf") for count, mean, sq in checked.values()
    ):
        raise ValueError("counts, means and squares must be numbers, not below 0")
    return checked


class Tally:
    """Running mean and variance per name (Chan, Golub, LeVeque's pairwise update, in double precision)."""

    def __init__(self, state: dict[str, list[float]] | None = None) -> None:
        self.state = {name: list(values) for name, values in (state or {}).items()}  # [count, mean, squares]

    def add(self, scores: dict[str, Tensor]) -> None:
        """``scores``: {name: [B]}, one value for each picture of a batch."""
        for name, values in scores.items():
            values = values.detach().double()
            count, mean = len(values), float(values.mean())
            self._merge(name, count, mean, float((values - mean).square().sum()))

    def merge(self, other: Tally) -> None:
        """Add what ``other`` has seen, as if its pictures had come here."""
        for name, (count, mean, squares) in other.state.items():
            self._merge(name, count, mean, squares)

    def _merge(self, name: str, count: int, mean: float, squares: float) -> None:
        seen, old, before = self.state.get(name, (0, 0.0, 0.0))
        total, shift = seen + count, mean - old
        self.state[name] = [
            total,
            old + shift * count / total,
            before + squares + shift * shift * seen * count / total,
        ]

    @property
    def pictures(self) -> int:
        return int(max((count for count, _, _ in self.state.values()), default=0))

    def mean(self, name: str) -> float:
        return self.state[name][1]

    def standard_error(self, name: str) -> float:
        count, _, squares = self.state[name]
        return sqrt(squares / (count - 1) / count) if count > 1 else float("nan")

    def result(self, source: str, layers: list[str]) -> Importance:
        """``layers``: which names are layers, in their order; the others are attention maps."""
        return Importance(
            source=source,
            pictures=self.pictures,
            layer_scores={name: self.mean(name) for name in layers},
            standard_errors={name: self.standard_error(name) for name in layers},
            attention_scores={name: self.mean(name) for name in self.state if name not in layers},
        )
