"""Behind `vitq evaluate`: which pictures judge, and what is measured on them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import vitq_core as vq
from vitq_core.experiment import checked_device, digest_of
from vitq_core.experiment.folders import Pools
from vitq_core.experiment.measure import Batches, part_of
from vitq_core.experiment.prompted import compare_on, figures, judging_photographs, judging_scenes
from vitq_core.experiment.runs import GENERATED, SCENES, Asked
from vitq_core.experiment.runs.rerun import source_of
from vitq_core.experiment.samples import Sample, Source

from .asking import JUDGED, JUDGED_SCENES, check_count
from .ending import reading_input
from .pictures import SEGMENTS, place_key, place_of, readable
from .states import own_state
from .targets import Target, any_model
from .working import Work


@dataclass(frozen=True)
class Judged:
    """`measured`: what `vq.evaluate` gives, or of Segment Anything [mean, standard error] of each measure."""

    measured: Mapping[str, Any]
    about: str
    reference: str | None
    sentences: tuple[str, ...] = ()


def judge(
    work: Work,
    name: str,
    data: str | None,
    reference: str | None,
    limit: int | None,
    held_out: bool,
    device: str | None,
    state: Path | None = None,
) -> Judged:
    if limit is not None:
        check_count("--limit", limit)
    checked_device(device)
    device = work.device(device)
    target = any_model(name, work, device)
    other, called = _reference(target, reference, work, device)
    place = place_of(data, target.model.info.task)
    if place[0] == GENERATED:
        raise ValueError("made pictures judge nothing; name a folder or .zip as --data, or leave it out")
    if target.model.info.task == SEGMENTS:
        _check_alone(work, state)
        return _masks(work, target, other, called, place, limit or JUDGED_SCENES)
    with reading_input():
        source = source_of(Asked(target.model.info.id, vq.recipe("minmax"), 1, 1, 0, *place), target.model)
        samples, unread = _samples(source, limit, held_out or data is None, work)
    loader = Batches(samples, target.model.preprocess, cancel=work.stop)
    module = None if other is None else other.module
    if state is None and work.processes.size > 1:
        weights = [each and digest_of(each.module.state_dict()) for each in (target, other)]
        state = own_state("evaluate", *weights, place_key(data), limit, held_out)
    work.kept = f"what was counted is kept in {state}" if state else work.kept
    with reading_input() if state is not None else nullcontext():
        measured = vq.evaluate(
            target.module, loader, module, part_of(work.progress, 0.1, 1), work.stop,
            processes=work.processes, state=state,
        )  # fmt: skip
    said = [f"{len(unread)} pictures could not be read and were left out."] if unread else []
    return Judged(dict(measured), source.about, called, (*said, *[source.warning] * bool(source.warning)))


def _check_alone(work: Work, state: Path | None) -> None:
    """ValueError for what masks are not measured with."""
    if work.processes.size > 1 or state is not None:
        raise ValueError("masks are measured in one go; leave out --state, and start it without torchrun")


def _reference(
    target: Target, name: str | None, work: Work, device: str | None
) -> tuple[Target | None, str | None]:
    """What is compared with, and what it is called."""
    if name is None and target.record is not None:
        name = target.record.model
    if name is None:
        return None, None
    found = any_model(name, work, device)
    if found.model.info.task != target.model.info.task:
        raise ValueError(
            f"{name} is a model for {found.model.info.task} and cannot be compared with one for "
            f"{target.model.info.task}"
        )
    return found, name


def _samples(source: Source, limit: int | None, held_out: bool, work: Work) -> tuple[list[Sample], list[str]]:
    """Those that can be read, and the names of the others."""
    if not isinstance(source, Pools):
        return readable(source.held_out(limit or JUDGED), work)
    others = () if held_out or source.to_calibrate == source.to_hold_out else source.to_calibrate
    return readable([*source.to_hold_out, *others][:limit], work)


def _masks(
    work: Work, target: Target, other: Target | None, called: str | None, place: tuple, limit: int
) -> Judged:
    drawn = place[0] == SCENES
    with reading_input():
        pictures = judging_scenes(limit) if drawn else judging_photographs(place[1][0], limit)
    full = target if other is None else other
    tried = compare_on(_asked(full), _asked(target), pictures, work.progress, work.stop)
    scores = figures(tried.quantized if other is not None else tried.full)
    about = "Drawn scenes that no bundled model was trained on." if drawn else f"Objects of {place[1][0]}."
    return Judged(scores, about, called, tried.signs)


def _asked(target: Target) -> object:
    return target.model if target.result is None else target.result
