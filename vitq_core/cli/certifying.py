"""Behind `vitq export`: the pictures that file and model are compared on, and the certificate in words."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import vitq_core as vq
from vitq_core.experiment.measure import Batches, usable
from vitq_core.experiment.prompted import judging_questions
from vitq_core.experiment.runs import GENERATED, OWN, Asked
from vitq_core.experiment.runs.rerun import source_of

from .ending import reading_input
from .output import facts
from .pictures import SEGMENTS, place_of
from .targets import Target, quantized
from .working import Work

FORMATS = {"torch_export": "torch"}  # another word for one of `vq.EXPORTERS`
COMPARED, SCENES = 64, 8
AT_ONCE = 16


def certified(
    work: Work, name: str, folder: Path, format: str, data: str | None, limit: int
) -> vq.Certificate:
    """Raises Ended for what the format cannot hold, or whose runtime is not installed."""
    target = quantized(name, work)
    with reading_input():
        vq.EXPORTERS[format].check(target.result)
        images = _pictures(target, data, limit, work)
    return vq.export(target.result, folder, format, images, work.progress, work.stop)


def _pictures(target: Target, data: str | None, limit: int, work: Work) -> Iterable:
    """Those that judged the run, where it is one."""
    model, record = target.model, target.record
    if model.info.task == SEGMENTS:
        if data is not None:
            raise ValueError("exports of Segment Anything are compared on drawn scenes; leave out --data")
        return judging_questions(model, limit or SCENES, work.stop)
    if data is None and record is not None:
        place = record.asked.pictures, record.asked.places
        place = (OWN, ()) if place[0] == GENERATED else place
    else:
        place = place_of(data, model.info.task)
    source = source_of(Asked(model.info.id, target.result.recipe, 1, 1, 0, *place), model)
    samples = usable(source.held_out(limit or COMPARED), work.stop).samples
    return Batches(samples, model.preprocess, AT_ONCE, work.stop)


def facts_of(certificate: vq.Certificate) -> str:
    """For people; what is not known of this format is left out."""
    near = "no more than the model from itself" if certificate.as_near else "more than the model from itself"
    integers = certificate.integer_nodes
    rows = [
        ("file", f"{certificate.path.parent}: {certificate.named}"),
        ("size", f"{certificate.bytes / 1e6:.3g} MB of {certificate.fp32_bytes / 1e6:.3g} MB"),
        ("SHA-256", certificate.sha256),
        ("compared on", certificate.counted),
        (
            "largest difference",
            f"{certificate.max_difference:.3g}, {near} ({certificate.own_difference:.3g})",
        ),
        ("least cosine", f"{certificate.cosine:.6f}"),
        ("same answers", _share(certificate.agreement)),
        ("right answers", _share(certificate.accuracy)),
        ("integer products", "" if integers is None else f"{integers} of {certificate.promised}"),
    ]
    return "\n".join([facts(rows), *certificate.sentences])


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"
