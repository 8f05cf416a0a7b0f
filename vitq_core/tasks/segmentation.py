"""Segment Anything: masks for prompts, measured by their IoU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from segment_anything.modeling import Sam
from torch import Tensor, nn
from torch.nn import functional

from ..common.batch import PICTURE, Batch
from ..common.errors import VitqError
from .base import TASKS, Evaluation, Metrics, Outputs, Task, check_finite, shape_of
from .records import BOXES, LABELS, MASKS, POINTS, PROMPTS, SIZE, checked_record, one_click

LOGITS, IOUS, CHOSEN, FULL = "logits", "ious", "chosen", "masks"
SINGLE = 0  # the mask that answers several prompts or a box; the others are candidates for one click


class Segmentation(Task):
    """``logits`` [P, 4, m, m] of the single mask and three candidates, ``ious`` [P, 4] as predicted, and
    which of them is ``chosen`` [P]: for one click the candidate of the highest predicted IoU, else the single
    one.

    What is explained is the mean logit inside the chosen mask minus that outside, a number for each prompt.
    """

    name, counts = "segmentation", "prompt"
    chunk = 1

    def matches(self, module: nn.Module) -> bool:
        return isinstance(module, Sam)

    def collate(self, item: object, size: tuple[int, int, int] | None = None) -> Batch:
        """``item``: one dict or a list of them."""
        records = [item] if isinstance(item, Mapping) else item
        if not isinstance(records, (list, tuple)) or not all(isinstance(r, Mapping) for r in records):
            raise ValueError(
                "Segment Anything takes lists of dicts, one for each picture, with its 'image', "
                f"'original_size' and prompts, as Sam.forward does; got {shape_of(item)}"
            )
        return Batch(([checked_record(record, size) for record in records], True))

    def working(self, item: object, size: tuple[int, int, int] | None) -> Batch:
        """Masks are not made as large as the photograph."""
        batch = self.collate(item, size)
        small = [{**record, SIZE: tuple(record[PICTURE].shape[1:])} for record in batch.args[0]]
        return Batch((small, *batch.args[1:]))

    def one(self, batch: Batch) -> Batch:
        """Its first picture with its first prompt."""
        (record,) = batch[:1].args[0]
        prompts = {name: record[name][:1] for name in PROMPTS if name in record}
        return Batch(([{**record, **prompts}], *batch.args[1:]))

    def example(self, size: tuple[int, int, int], count: int = 1) -> Batch:
        """Of random pictures, each with a click in its middle."""
        generator = torch.Generator().manual_seed(0)
        middle = torch.tensor([[[size[2] / 2, size[1] / 2]]])
        return self.collate(
            [
                {
                    PICTURE: 255 * torch.rand(size, generator=generator),
                    SIZE: size[1:],
                    POINTS: middle,
                    LABELS: torch.ones(1, 1),
                }
                for _ in range(count)
            ],
            size,
        )

    def outline(self, size: tuple[int, int, int]) -> Batch:
        """With a box, which is as many tokens as a click: by a click's label its prompt encoder chooses what
        to compute."""
        picture, box = torch.empty(size, device="meta"), torch.empty(1, 4, device="meta")
        return Batch(([{PICTURE: picture, SIZE: tuple(size[1:]), BOXES: box}], True))

    def run(self, module: nn.Module, batch: Batch, who: str = "the model") -> Outputs:
        """All four masks as the decoder gives them, of each prompt; with gradients, which ``Sam.forward``
        does not have."""
        if not isinstance(module, Sam):
            raise VitqError(f"{who} must give masks for prompts, and {type(module).__name__} is no Sam")
        parts = [_answered(module, record) for record in batch.args[0]]
        outputs = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        return self.outputs(outputs, who)

    def measured(self, module: nn.Module, batch: Batch, who: str = "the model") -> Outputs:
        """With ``masks`` [P, 4, H, W] at the size of the picture, of which the batch has one."""
        outputs, (record,) = self.run(module, batch, who), batch.args[0]
        return {**outputs, FULL: full_masks(module, record, outputs)}

    def outputs(self, answer: object, who: str = "the model") -> Outputs:
        if not isinstance(answer, Mapping) or not {LOGITS, IOUS, CHOSEN} <= answer.keys():
            raise VitqError(
                f"{who} is taken for Segment Anything and must give masks for prompts, got {shape_of(answer)}"
            )
        for name in (LOGITS, IOUS):
            check_finite(answer[name], who)
        return dict(answer)

    def metrics(self) -> SegmentationMetrics:
        return SegmentationMetrics()

    def loss(self, outputs: Outputs, expected: Outputs) -> Tensor:
        """1 − soft IoU of the four masks' probabilities, and the squared error of the predicted IoUs, in the
        mean over masks and prompts."""
        actual, wanted = (parts[LOGITS].sigmoid().flatten(2) for parts in (outputs, expected))
        common = torch.minimum(actual, wanted).sum(-1)
        every = torch.maximum(actual, wanted).sum(-1).clamp_min(1e-6)
        errors = (outputs[IOUS] - expected[IOUS]).square()
        return (1 - common / every + errors).mean()

    def targets(self, outputs: Outputs, given: Tensor | None) -> None:
        return None

    def objective(self, outputs: Outputs, targets: None) -> Tensor:
        return (self._weights(outputs) * outputs[LOGITS]).flatten(1).sum(1)

    def shares(self, outputs: Outputs, targets: None) -> Outputs:
        parts = self._weights(outputs) * outputs[LOGITS]
        return {LOGITS: parts / parts.flatten(1).sum(1).clamp_min(1e-12)[:, None, None, None]}

    @staticmethod
    def _weights(outputs: Outputs) -> Tensor:
        """[P, 4, m, m]: what each logit counts in the objective, 0 in the masks that were not chosen."""
        logits = outputs[LOGITS].detach()
        inside = (logits > 0).to(logits.dtype)
        means = [mask / mask.sum((-2, -1), keepdim=True).clamp_min(1) for mask in (inside, 1 - inside)]
        chosen = functional.one_hot(outputs[CHOSEN], logits.shape[1]).to(logits.dtype)
        return (means[0] - means[1]) * chosen[:, :, None, None]

    def sample(self, outputs: Outputs, generator: torch.Generator) -> Tensor:
        """Each pixel of the four masks inside or outside, as its probability has it."""
        chances = outputs[LOGITS].detach().sigmoid().cpu()
        return torch.bernoulli(chances, generator=generator).to(outputs[LOGITS])

    def likelihood(self, outputs: Outputs, answers: Tensor) -> Tensor:
        logits = outputs[LOGITS]
        return (
            -functional.binary_cross_entropy_with_logits(logits, answers, reduction="none").flatten(1).sum(1)
        )

    def present(self, outputs: Outputs, labels: Sequence[str] | None) -> Outputs:
        """As it is."""
        return outputs


TASKS.register(Segmentation.name)(Segmentation())


def _answered(sam: Sam, record: Mapping[str, Any]) -> Outputs:
    """All of its prompts."""
    points = (record[POINTS], record[LABELS]) if POINTS in record else None
    embedding = sam.image_encoder(sam.preprocess(record[PICTURE])[None])
    sparse, dense = sam.prompt_encoder(points, record.get(BOXES), record.get(MASKS))
    positions = sam.prompt_encoder.get_dense_pe()
    return answer(record, *sam.mask_decoder.predict_masks(embedding, positions, sparse, dense))


def answer(record: Mapping[str, Any], logits: Tensor, ious: Tensor) -> Outputs:
    """What the decoder gave for the prompts of a record, by name, and which mask that chooses."""
    return {LOGITS: logits, IOUS: ious, CHOSEN: _chosen(record, ious)}


def _chosen(record: Mapping[str, Any], ious: Tensor) -> Tensor:
    if one_click(record):
        return 1 + ious.detach()[:, 1:].argmax(1)
    return torch.full_like(ious[:, 0], SINGLE, dtype=torch.long)


def full_masks(sam: Sam, record: Mapping[str, Any], outputs: Outputs) -> Tensor:
    """[P, 4, H, W], true inside, of a picture of its original size."""
    size = tuple(record[PICTURE].shape[-2:])
    return sam.postprocess_masks(outputs[LOGITS], size, tuple(record[SIZE])) > sam.mask_threshold


class SegmentationMetrics(Metrics):
    """Sums over prompts. Masks are compared at the size of the picture where the outputs hold them so, else
    at that of the decoder's answers."""

    def __init__(self) -> None:
        self.n = self.judged = self.compared = self.changed = 0
        self.iou = self.best = self.error = self.agreement = 0.0

    def add(self, outputs: Outputs, truth: Any, reference: Outputs | None) -> None:
        """``truth``: bool masks [P, H, W], None for none."""
        masks, chosen = outputs.get(FULL, outputs[LOGITS] > 0), outputs[CHOSEN]
        rows = torch.arange(len(chosen), device=chosen.device)
        self.n += len(chosen)
        if truth is not None:
            self._judge(outputs, masks, _checked_truth(truth, masks), rows)
        if reference is not None:
            others = reference.get(FULL, reference[LOGITS] > 0).to(masks.device)
            if others.shape != masks.shape:
                raise ValueError(
                    f"the model gives masks of {list(masks.shape[2:])} but the reference of "
                    f"{list(others.shape[2:])}"
                )
            theirs = reference[CHOSEN].to(chosen.device)
            self.compared += len(chosen)
            self.changed += int((theirs != chosen).sum())
            self.agreement += float(ious(masks[rows, chosen], others[rows, theirs]).sum())

    def _judge(self, outputs: Outputs, masks: Tensor, truth: Tensor, rows: Tensor) -> None:
        chosen = outputs[CHOSEN]
        found = ious(masks, truth[:, None])
        candidates = found[:, 1:].max(1).values
        self.judged += len(chosen)
        self.iou += float(found[rows, chosen].sum())
        self.best += float(torch.where(chosen == SINGLE, found[:, SINGLE], candidates).sum())
        self.error += float((outputs[IOUS][rows, chosen].double() - found[rows, chosen]).abs().sum())

    def merge(self, other: SegmentationMetrics) -> None:
        for name, count in vars(other).items():
            setattr(self, name, getattr(self, name) + count)

    def measured(self) -> Evaluation:
        def mean(total: float, count: int) -> float | None:
            return total / count if count else None

        return Evaluation(
            top1=None,
            top5=None,
            n=self.n,
            iou=mean(self.iou, self.judged),
            best_iou=mean(self.best, self.judged),
            iou_error=mean(self.error, self.judged),
            agreement_iou=mean(self.agreement, self.compared),
            changed_choices=mean(self.changed, self.compared),
        )


def ious(masks: Tensor, others: Tensor) -> Tensor:
    """[…], float64, of bool masks […, H, W]; 1 for two empty ones."""
    common, every = (
        (op(masks, others)).sum((-2, -1)).double() for op in (torch.logical_and, torch.logical_or)
    )
    return torch.where(every == 0, 1.0, common / every.clamp_min(1))


def _checked_truth(truth: Any, masks: Tensor) -> Tensor:
    truth = torch.as_tensor(truth)
    if truth.shape != (len(masks), *masks.shape[-2:]):
        raise ValueError(
            f"masks must be [{len(masks)}, {masks.shape[-2]}, {masks.shape[-1]}], one for each prompt of the "
            f"picture, got {list(truth.shape)}"
        )
    return truth.to(masks.device) > 0
