"""What an importance source is: per picture, a score for every layer. One file each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor

from ..common.batch import Batch
from ..common.registry import Registry
from ..graph.prepared import PreparedModel
from ..graph.site import Layer


class Source(ABC):
    """Sees batch after batch of pictures. A higher score means: keep more bits here.

    ``title``, ``summary``: what people read, a few words each; without a title they read the name.
    ``by_batch``: a picture's scores depend on the batch that it comes in.
    """

    title: str = ""
    summary: str = ""
    by_batch: bool = False

    def __init__(self, prepared: PreparedModel) -> None:
        self.prepared = prepared

    @abstractmethod
    def scores(self, batch: Batch, targets: Tensor | None) -> dict[str, Tensor]:
        """{layer, or attention map: [B]} for a batch of B pictures and ``targets`` [B] or predictions."""

    @staticmethod
    def weights(scores: dict[str, float], layers: Mapping[str, Layer]) -> dict[str, float]:
        """What a unit of relative error in each layer's output counts, made of its averaged score."""
        return scores


SOURCES: Registry[type[Source]] = Registry("importance source")
