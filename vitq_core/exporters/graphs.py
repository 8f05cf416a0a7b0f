"""The graphs that a model is written as, and how the questions of its task go through them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from segment_anything.modeling import Sam
from torch import Tensor, nn
from torch.export import Dim
from torch.nn import functional

from ..common.batch import PICTURE, Batch
from ..quantized.simulation import Simulation
from ..tasks import Outputs, Task
from ..tasks.records import BOXES, LABELS, MASKS, POINTS
from ..tasks.segmentation import Segmentation, answer
from .base import Call

RECORDED = 2  # pictures, and prompts: a file takes any number
PADDING, CORNERS = -1.0, (2.0, 3.0)  # labels of a point that is none, and of a box's corners
GUIDE = """
Everything is float32.

- `encoder`: `pictures` [N, 3, H, W], colours from 0 to 255, whose longer side is the model's → their
  `image_embeddings` [N, C, h, w].
- `decoder`: the `image_embeddings` of one picture, `point_coords` [P, n, 2] in pixels of what was encoded,
  `point_labels` [P, n] (1 inside, 0 outside, 2 and 3 the corners of a box, −1 no point: one of those follows
  the clicks where there is no box), `mask_input` [P, 1, 4h, 4w] and `has_mask_input` [1] (0 or 1) → for each
  of P objects `low_res_masks` [P, 4, 4h, 4w], above 0 inside, and `iou_predictions` [P, 4]: of the mask that
  answers several clicks or a box, then of the three candidates for a single click."""


@dataclass(frozen=True)
class Graph:
    """One file: what it computes. ``inputs``: {name: an example}, the pictures first where there are any;
    ``lengths``: of each input, in their order, {axis: its name} of those that another length fits too."""

    name: str
    module: nn.Module
    inputs: Mapping[str, Tensor]
    lengths: tuple[dict[int, Dim], ...]
    outputs: tuple[str, ...]


class Division(ABC):
    """How the models of a task are divided. ``names``: of their graphs, first the one that takes pictures;
    ``guide``: Markdown on how to ask them, where that is more than to give them pictures."""

    names: tuple[str, ...]
    guide = ""

    @abstractmethod
    def graphs(self, module: nn.Module, size: tuple[int, int, int]) -> list[Graph]:
        """Of a module in the family's own form that takes pictures of ``size``."""

    @abstractmethod
    def answer(self, calls: Mapping[str, Call], batch: Batch, task: Task) -> Outputs:
        """What the graphs, called one after the other, answer to ``batch``."""

    def pictures(self, size: tuple[int, int, int], count: int) -> Tensor:
        """Random ones, for the first graph."""
        return torch.randn(count, *size, generator=torch.Generator().manual_seed(0))


class Whole(Division):
    """One graph: pictures → what the model gives."""

    names = ("model",)

    def graphs(self, module: nn.Module, size: tuple[int, int, int]) -> list[Graph]:
        pictures, count = torch.zeros(RECORDED, *size), Dim("pictures_count")
        return [Graph("model", module, {"pictures": pictures}, ({0: count},), ("output",))]

    def answer(self, calls: Mapping[str, Call], batch: Batch, task: Task) -> Outputs:
        (output,) = calls["model"](batch.args[0])
        return task.outputs(output, "the exported file")


class EncoderAndDecoder(Division):
    """Segment Anything: a picture is encoded once, and each question about it is decoded. The names of what
    the decoder takes are those of the ``segment-anything`` package's own export.
    """

    names = ("encoder", "decoder")
    guide = GUIDE

    def graphs(self, module: Sam, size: tuple[int, int, int]) -> list[Graph]:
        height, width = (
            Dim(name, min=1, max=side) for name, side in zip(("height", "width"), size[1:], strict=True)
        )
        lengths = ({0: Dim("pictures_count"), 2: height, 3: width},)
        pictures = torch.zeros(RECORDED, size[0], size[1] - 1, size[2] - 2)
        encoder = _Encoder(module)
        first = Graph("encoder", encoder, {"pictures": pictures}, lengths, ("image_embeddings",))
        return [first, self._decoder(module)]

    @staticmethod
    def _decoder(module: Sam) -> Graph:
        embedded = module.prompt_encoder.image_embedding_size
        channels, (rows, columns) = module.prompt_encoder.embed_dim, module.prompt_encoder.mask_input_size
        prompts, points = Dim("prompts"), Dim("points")
        inputs = {
            "image_embeddings": torch.zeros(1, channels, *embedded),
            "point_coords": torch.zeros(RECORDED, RECORDED + 1, 2),
            "point_labels": torch.zeros(RECORDED, RECORDED + 1),
            "mask_input": torch.zeros(RECORDED, 1, rows, columns),
            "has_mask_input": torch.zeros(1),
        }
        asked = {0: prompts, 1: points}
        lengths = ({}, asked, asked, {0: prompts}, {})
        return Graph("decoder", _Decoder(module), inputs, lengths, ("low_res_masks", "iou_predictions"))

    def answer(self, calls: Mapping[str, Call], batch: Batch, task: Task) -> Outputs:
        parts = [self._answered(calls, record) for record in batch.args[0]]
        return task.outputs({name: torch.cat([part[name] for part in parts]) for name in parts[0]})

    @staticmethod
    def _answered(calls: Mapping[str, Call], record: Mapping[str, Any]) -> Outputs:
        (embedding,) = calls["encoder"](record[PICTURE][None])
        points, labels = asked(record)
        masks = record.get(MASKS)
        if masks is None:
            rows, columns = (4 * side for side in embedding.shape[2:])
            given, masks = torch.zeros(1), torch.zeros(len(points), 1, rows, columns)
        else:
            given = torch.ones(1)
        return answer(record, *calls["decoder"](embedding, points, labels, masks, given))

    def pictures(self, size: tuple[int, int, int], count: int) -> Tensor:
        return 255 * torch.rand(count, *size, generator=torch.Generator().manual_seed(0))


def asked(record: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """Clicks and boxes of a record as the points [P, n, 2] and labels [P, n] of the decoder."""
    count = next(len(record[name]) for name in (POINTS, BOXES, MASKS) if name in record)
    points, labels = [torch.zeros(count, 0, 2)], [torch.zeros(count, 0)]
    if POINTS in record:
        points.append(record[POINTS])
        labels.append(record[LABELS])
        if BOXES not in record:
            points.append(torch.zeros(count, 1, 2))
            labels.append(torch.full((count, 1), PADDING))
    if BOXES in record:
        points.append(record[BOXES].reshape(count, 2, 2))
        labels.append(torch.tensor(CORNERS).expand(count, 2))
    return torch.cat(points, 1), torch.cat(labels, 1)


class _Encoder(nn.Module):
    """Prepares a picture as ``Sam.preprocess`` does and encodes it."""

    def __init__(self, sam: Sam) -> None:
        super().__init__()
        self.image_encoder, self.side = sam.image_encoder, sam.image_encoder.img_size
        self.register_buffer("mean", sam.pixel_mean.detach().clone())
        self.register_buffer("std", sam.pixel_std.detach().clone())

    def forward(self, pictures: Tensor) -> Tensor:
        pictures = (pictures - self.mean) / self.std
        height, width = pictures.shape[-2:]
        return self.image_encoder(functional.pad(pictures, (0, self.side - width, 0, self.side - height)))


class _Decoder(nn.Module):
    """Embeds points and a mask as ``Sam.prompt_encoder`` does, without its choices by value, and decodes."""

    def __init__(self, sam: Sam) -> None:
        super().__init__()
        prompts = sam.prompt_encoder
        self.mask_decoder, self.smaller = sam.mask_decoder, prompts.mask_downscaling
        self.places = prompts.pe_layer
        kinds = (prompts.not_a_point_embed, *prompts.point_embeddings)
        self.register_buffer("kinds", torch.cat([kind.weight.detach() for kind in kinds]))
        self.register_buffer("no_mask", prompts.no_mask_embed.weight.detach().reshape(1, -1, 1, 1).clone())
        self.register_buffer("positions", prompts.get_dense_pe().detach())
        self.register_buffer("extent", torch.tensor(prompts.input_image_size[::-1], dtype=torch.float32))

    def forward(
        self, embedding: Tensor, points: Tensor, labels: Tensor, masks: Tensor, has_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        places = self.places._pe_encoding((points + 0.5) / self.extent)
        places = torch.where(labels[..., None] == PADDING, torch.zeros_like(places), places)
        sparse = places + self.kinds[(labels + 1).long()]
        dense = torch.where(has_mask.reshape(1, 1, 1, 1) > 0, self.smaller(masks), self.no_mask)
        return self.mask_decoder.predict_masks(embedding, self.positions, sparse, dense)


DIVISIONS: Mapping[str, Division] = {Segmentation.name: EncoderAndDecoder()}
WHOLE = Whole()


def division_of(task: Task) -> Division:
    """One graph, unless the task divides its models."""
    return DIVISIONS.get(task.name, WHOLE)


def graphs_of(simulation: Simulation, module: nn.Module | None = None) -> list[Graph]:
    """Of the simulated model, or of another form of it, ``module``."""
    division = division_of(simulation.prepared.task)
    return division.graphs(simulation.module if module is None else module, simulation.input_size)
