"""What a caller of `load_model` says about a file or a folder of their own."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from ...pictures.preprocess import Preprocessing

PICTURES = ("mean", "std", "size", "crop_pct", "interpolation")


@dataclass(frozen=True)
class Given:
    """None: nothing was said. `architecture` is timm's name, the others are as in `wrap_model`."""

    architecture: str | None = None
    labels: Sequence[str] | None = None
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    size: int | tuple[int, int] | None = None
    crop_pct: float | None = None
    interpolation: str | None = None

    def __post_init__(self) -> None:
        if self.architecture is not None and not isinstance(self.architecture, str):
            raise ValueError(f"architecture must be a name of timm's, got {self.architecture!r:.80}")

    def named(self) -> list[str]:
        """What was said, by name."""
        return [item.name for item in fields(self) if getattr(self, item.name) is not None]

    def pictures(self) -> dict[str, object]:
        """What was said of how pictures are prepared."""
        return {name: getattr(self, name) for name in PICTURES if name in self.named()}

    def over(self, preprocessing: Preprocessing) -> Preprocessing:
        """`preprocessing` with what was said in its place. Raises ValueError for what does not fit."""
        return replace(preprocessing, **self.pictures())
