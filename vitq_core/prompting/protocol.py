"""How well a model finds objects that are known, asked as Segment Anything's papers ask.

With a click on the most interior pixel, with the tight box, and with three clicks of which each later one
corrects the largest fault of the answer so far. Masks are compared at the size of the original picture.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy import ndarray
from scipy.ndimage import label
from segment_anything.modeling import Sam

from ..common.masks import innermost, iou, tight_box
from ..common.monitor import Monitor, Progress
from ..common.records import Record
from ..common.words import counted
from ..data.batches import length_of
from ..pictures.decoding import plain_picture
from ..quantized.audit import audit
from ..tasks import TASKS
from .answer import Answer
from .cache import EmbeddingCache
from .labelled import Labelled
from .means import Mean, Score
from .prompts import Prompt
from .rle import RunLengths
from .segmenter import OpenPicture, Segmenter

CLICKS = 3


@dataclass(frozen=True)
class PromptScores(Record):
    """Mean IoUs over `objects` of `pictures`, each a Score.

    Against the truth: `click_iou` and `box_iou`, of the answer that the model itself believes in most;
    `best_of_three_iou`, of whichever candidate for a click is best, which needs to know the truth;
    `three_clicks_iou`, after two corrections. Against the reference's answers to the same prompts, each model
    corrected by itself: `click_agreement`, `box_agreement`, `three_clicks_agreement`. `belief_error`: mean
    |predicted − true IoU| of the answers to all three. `changed_choice`: share of clicks for which the model
    believes in another of the three candidates than the reference. None without a reference.
    """

    pictures: int
    objects: int
    click_iou: Score
    best_of_three_iou: Score
    box_iou: Score
    three_clicks_iou: Score
    belief_error: Score
    click_agreement: Score | None = None
    box_agreement: Score | None = None
    three_clicks_agreement: Score | None = None
    changed_choice: Score | None = None


@dataclass(frozen=True, eq=False)
class _Asked:
    """One model's answers for one object."""

    click: Answer
    box: Answer
    three_clicks: Answer

    @property
    def chosen(self) -> dict[str, ndarray]:
        """{kind: the mask it believes in}."""
        return {kind: getattr(self, kind).mask for kind in ("click", "box", "three_clicks")}


@dataclass(frozen=True, eq=False)
class _Known:
    """What is compared of a model's answers for one object: the masks it believes in, and for a click which
    candidate that is."""

    truth: RunLengths
    chosen: dict[str, RunLengths]
    choice: int

    @classmethod
    def of(cls, asked: _Asked, truth: ndarray) -> _Known:
        chosen = {kind: RunLengths.of(mask) for kind, mask in asked.chosen.items()}
        return cls(RunLengths.of(truth), chosen, asked.click.chosen)


class KnownAnswers:
    """A model's answers for the objects of some pictures, in their order, in a few kilobytes each: other
    models can be measured against them without asking that model again."""

    def __init__(self) -> None:
        self._known: list[_Known] = []

    def __len__(self) -> int:
        return len(self._known)

    def add(self, known: _Known) -> None:
        self._known.append(known)

    def answer(self, number: int, truth: ndarray) -> _Known:
        """For that object. ValueError where it was another one."""
        known = self._known[number] if number < len(self._known) else None
        if known is None or known.truth.size != truth.shape or not np.array_equal(known.truth.mask(), truth):
            raise ValueError("the known answers are those for other pictures")
        return known


def measure_prompts(
    model: object,
    pictures: Iterable[Labelled],
    reference: object = None,
    progress: Progress | None = None,
    cancel: object = None,
    keep: KnownAnswers | None = None,
) -> PromptScores:
    """Goes through `pictures` once, one in memory at a time; those without objects are left out.

    `model`, `reference`: as for a Segmenter; quantized ones are audited first. `keep` takes up the model's
    answers, and can be the `reference` of others for the same pictures. Raises ValueError, one sentence,
    where there is no object, a mask does not fit its picture or known answers are those for other pictures,
    VitqError for a failed audit, NotFinite where a model gives NaN, Cancelled when told to stop.
    """
    known = reference if isinstance(reference, KnownAnswers) else None
    live = (model, None if known is not None else reference)
    segmenters = [_forgetful(each) for each in live if each is not None]
    for segmenter in segmenters:
        _audit(segmenter.module)
    means: dict[str, Mean] = defaultdict(Mean)
    monitor, total, seen, objects = Monitor(progress, cancel), length_of(pictures), 0, 0
    for done, labelled in enumerate(pictures):
        share = done / total if total else 0.0
        monitor.report(share, f"Asked for {counted(objects, 'object')} in {counted(seen, 'picture')}")
        rows = _picture(segmenters, labelled, monitor, known, objects, keep)
        for name in rows[0] if rows else ():
            means[name].add([row[name] for row in rows])
        seen, objects = seen + bool(rows), objects + len(rows)
    if not objects:
        raise ValueError("there is no object to ask for: give pictures with masks")
    return PromptScores(seen, objects, **{name: mean.score() for name, mean in means.items()})


def most_wrong(mask: ndarray, truth: ndarray) -> tuple[tuple[float, float], int] | None:
    """The click ((x, y), label) that says most: in the largest piece that `mask`, bool [H, W], lacks (1) or
    has too much (0). None where it is `truth`."""
    missed, spilled = _largest(truth & ~mask), _largest(mask & ~truth)
    if not missed.any() and not spilled.any():
        return None
    if np.count_nonzero(missed) >= np.count_nonzero(spilled):
        return innermost(missed), 1
    return innermost(spilled), 0


def _forgetful(model: object) -> Segmenter:
    """Each picture comes once, so no embedding is worth keeping."""
    return Segmenter(model, EmbeddingCache(most=1))


def _audit(module: Sam) -> None:
    if hasattr(module, "vitq"):
        side = module.image_encoder.img_size
        audit(module, TASKS["segmentation"].example((3, side, side)).on(module))


def _picture(
    segmenters: Sequence[Segmenter],
    labelled: Labelled,
    monitor: Monitor,
    known: KnownAnswers | None,
    first: int,
    keep: KnownAnswers | None,
) -> list[dict[str, float]]:
    """A row for each object, of which the first has the number `first`."""
    if not isinstance(labelled, Labelled):
        raise ValueError(f"pictures must be Labelled, got {type(labelled).__name__}")
    if not len(labelled.masks):
        return []
    rgb = plain_picture(labelled.picture, "measuring")
    labelled.check(*rgb.size)
    opened = [segmenter.opened(rgb) for segmenter in segmenters]
    rows = []
    for number, truth in enumerate(labelled.masks, first):
        monitor.check()
        asked, *others = (_asked(each, truth) for each in opened)
        other = None if known is None else known.answer(number, truth)
        if others:
            other = _Known.of(others[0], truth)
        rows.append(_row(asked, other, truth=truth))
        if keep is not None:
            keep.add(_Known.of(asked, truth))
    return rows


def _asked(opened: OpenPicture, truth: ndarray) -> _Asked:
    click = opened.answer(Prompt((innermost(truth),), (1,)))
    box = opened.answer(Prompt(box=tight_box(truth)))
    return _Asked(click, box, _corrected(opened, truth, click))


def _corrected(opened: OpenPicture, truth: ndarray, answer: Answer) -> Answer:
    """After the clicks that remain, each with the last answer's logits as a mask prompt."""
    points, labels = [innermost(truth)], [1]
    while len(points) < CLICKS and (correction := most_wrong(answer.mask, truth)) is not None:
        points.append(correction[0])
        labels.append(correction[1])
        answer = opened.answer(Prompt(points, labels), previous=answer.low_res[[answer.chosen]])
    return answer


def _row(asked: _Asked, other: _Known | None, *, truth: ndarray) -> dict[str, float]:
    """{field of PromptScores: value} of one object."""
    ious = {kind: iou(mask, truth) for kind, mask in asked.chosen.items()}
    errors = [abs(float(getattr(asked, kind).ious.max()) - true) for kind, true in ious.items()]
    row = {f"{kind}_iou": true for kind, true in ious.items()}
    row["best_of_three_iou"] = max(iou(mask, truth) for mask in asked.click.masks)
    row["belief_error"] = float(np.mean(errors))
    if other is not None:
        theirs = {kind: known.mask() for kind, known in other.chosen.items()}
        row |= {f"{kind}_agreement": iou(mask, theirs[kind]) for kind, mask in asked.chosen.items()}
        row["changed_choice"] = float(asked.click.chosen != other.choice)
    return row


def _largest(mask: ndarray) -> ndarray:
    """Its largest piece; the first of two of a size, nothing of nothing."""
    numbers, count = label(mask)
    return numbers == 1 + np.bincount(numbers.ravel())[1:].argmax() if count else mask
