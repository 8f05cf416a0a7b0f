"""The body of a model card, in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import timm
import torch

from ..common.words import counted
from ..models.hub_name import HOSTS
from ..quantized.report import RECONSTRUCTED
from ..quantized.result import QuantizeResult
from .base_model import BaseModel
from .figures import Figure
from .folder import Exported

FEW = 1000  # pictures; of fewer a result says little of small differences
TEXT = """# {title}

{summary}

## What was done

{done}

<details><summary>The whole recipe</summary>

```json
{recipe}
```

</details>

## Results

{results}

## Size

`{file}`: {megabytes:.2f} MB; {fp32:.2f} MB in full precision, {times:.1f} times as much.

## Load it

```python
{lines}
```

{how}

A private repository asks for your own sign-in first: `hf auth login`.

## The file and the model that was measured

{certificate}

## Calibration pictures

{calibration}

## Limits

{limits}
"""
MEASURED = """| | this model | full precision | measured on |
|---|---|---|---|
{rows}

{pictures}In brackets: where a share lies with 95 % confidence, by so many pictures. The quantized numbers are
of the simulation that the file was made from; the section on the file below says how near the two are."""
UNMEASURED = "No test pictures were measured, so nothing is known of how good this model is."
CERTIFIED = """Both answered the same {n}, side by side:

| | |
|---|---|
| Largest difference of any output | {difference:.3g}; outputs deviate by {spread:.3g} |
| Least cosine of the outputs to one | {cosine:.5f} |
{rows}| The simulation against itself, pictures changed by a millionth | {own:.3g}; cosine {own_cosine:.5f} |
| SHA-256 of the file | `{sha256}` |

`certificate.json` holds these figures."""
UNCERTIFIED = (
    "The file is the packed model itself: when it was saved it was loaded again and gave the same answers "
    "bit for bit."
)
DIGEST = """{count}{which}, by whose values ranges were chosen. They are known by this SHA-256:

    {digest}

It is of every picture as the model was given it, in their order: for each of its tensors, by name, a line
`name type [shape]` and its bytes (`vitq_core.common.digests.digest_of_pictures`). Whoever has the same
pictures can make the same model again."""
NO_DIGEST = "{count}{which}. This result was made before a fingerprint of them was kept."


@dataclass(frozen=True)
class Facts:
    """What a card says. Texts are one line each, and empty where nothing is known."""

    result: QuantizeResult
    found: Exported
    base: BaseModel
    figures: Sequence[Figure]
    licence: str
    tested_on: str
    calibrated_on: str


def text(facts: Facts, repo: str) -> str:
    """``repo``: where the lines that load it get it from."""
    report, found = facts.result.report, facts.found
    fp32 = report.fp32_size_mb
    return TEXT.format(
        title=f"{facts.base.name}, quantized to {_bits(facts.result)}",
        summary=_summary(facts),
        done="\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in _done(facts))]),
        recipe=facts.result.recipe.to_json(),
        results=_results(facts),
        file=found.file.name if found.certificate is None else found.certificate.named,
        megabytes=found.bytes / 1e6,
        fp32=fp32,
        times=fp32 * 1e6 / found.bytes,
        lines=found.exporter.lines(repo, found.file.name),
        how=found.exporter.how(facts.result),
        certificate=_certificate(found),
        calibration=_calibration(facts),
        limits="\n".join(f"- {sentence}" for sentence in _limits(facts)),
    )


def _bits(result: QuantizeResult) -> str:
    return f"W{result.recipe.weight_bits}/A{result.recipe.act_bits}"


def _summary(facts: Facts) -> str:
    said = f"{_link(facts.base)}, quantized after training with VitQ Studio"
    return f"{said} and written in the format {facts.found.exporter.title}. {facts.found.exporter.summary}"


def _link(base: BaseModel) -> str:
    if base.hub is None:
        return f"`{base.name}`, which comes with VitQ Studio" if base.bundled else base.name
    return f"[{base.hub.repo}](https://{HOSTS[0]}/{base.hub.repo})"


def _done(facts: Facts) -> Iterator[tuple[str, str]]:
    result = facts.result
    report, recipe = result.report, result.recipe
    at = "" if facts.base.hub is None or not facts.base.hub.is_commit else f", `{facts.base.hub.revision}`"
    yield "Base model", f"{_link(facts.base)}{at}"
    yield "Licence", facts.licence or "not stated; the base model's may set conditions"
    yield "Recipe", f"{recipe.title} (`{recipe.name}`): {recipe.summary}"
    yield "Bits of weights", f"{recipe.weight_bits}; {report.avg_weight_bits:.2f} on average"
    effective = f", {report.effective_act_bits:.2f} with the outliers that are kept exact"
    kept = effective if report.effective_act_bits - report.avg_act_bits > 0.005 else ""
    yield "Bits of activations", f"{recipe.act_bits}; {report.avg_act_bits:.2f} on average{kept}"
    yield "Learned", _learned(result)
    yield "Calibration pictures", f"{report.pictures:,}"
    yield "Random seed", "not kept" if report.seed is None else str(report.seed)
    yield "Preprocessing", report.preprocessing.replace("|", "/")
    yield "Made with", f"torch {torch.__version__.split('+')[0]}, timm {timm.__version__}"


def _learned(result: QuantizeResult) -> str:
    schedule, units = result.recipe.options.schedule, result.report.units
    if schedule is None:
        return "nothing (no fine-tuning): only what the recipe does beside measuring ranges"
    kept = sum(unit.outcome == RECONSTRUCTED for unit in units)
    said = (
        f"effort `{result.recipe.options.effort}`: {schedule.iterations} iterations for each group of layers"
    )
    said += f", on at most {schedule.pictures:,} calibration pictures; kept in {kept} of {len(units)} groups"
    return said + (", then it was stopped" if result.report.cancelled else "")


def _results(facts: Facts) -> str:
    if not facts.figures:
        return UNMEASURED
    rows = [
        f"| {figure.measure.title} | {figure.written} | {figure.full_written} | {figure.of} |"
        for figure in facts.figures
    ]
    pictures = f"The pictures: {facts.tested_on}. " if facts.tested_on else ""
    return MEASURED.format(rows="\n".join(rows), pictures=pictures)


def _certificate(found: Exported) -> str:
    certificate = found.certificate
    if certificate is None:
        return UNCERTIFIED
    rows = []
    if certificate.agreement is not None:
        rows.append(("Same class", f"{certificate.agreement:.1%}"))
    if certificate.accuracy is not None:
        both = f"{certificate.accuracy:.1%}; {certificate.simulated_accuracy:.1%} in simulation"
        rows.append(("Right answers of the file, where there were labels", both))
    if certificate.agreement_iou is not None:
        rows.append(("Mean IoU of both masks", f"{certificate.agreement_iou:.4f}"))
    if certificate.packed is not None:
        rows.append(("Difference after packing and loading again", f"{certificate.packed:g}"))
    if certificate.integer_nodes is not None:
        ran = "" if certificate.kernels is None else (
            f"; on the machine that wrote it {certificate.kernels} ran as integers"
        )  # fmt: skip
        rows.append(
            ("Products of integers", f"{certificate.integer_nodes} of {certificate.promised} promised{ran}")
        )
    return CERTIFIED.format(
        n=certificate.counted,
        difference=certificate.max_difference,
        spread=certificate.spread,
        cosine=certificate.cosine,
        rows="".join(f"| {name} | {value} |\n" for name, value in rows),
        own=certificate.own_difference,
        own_cosine=certificate.own_cosine,
        sha256=certificate.sha256,
    )


def _calibration(facts: Facts) -> str:
    report = facts.result.report
    which = f" ({facts.calibrated_on})" if facts.calibrated_on else ""
    said = DIGEST if report.calibration else NO_DIGEST
    return said.format(count=counted(report.pictures, "picture"), which=which, digest=report.calibration)


def _limits(facts: Facts) -> Iterator[str]:
    report, certificate = facts.result.report, facts.found.certificate
    yield from certificate.sentences if certificate is not None else ()
    fewest = min((figure.count for figure in facts.figures), default=None)
    if fewest is not None and fewest < FEW:
        yield f"Measured on few pictures ({fewest:,}): small differences in the results above may be chance."
    yield "Of pictures of another kind than those above nothing was measured."
    yield f"In floating point: {', '.join(report.kept_float)}."
    if report.kept_8bit:
        yield f"At 8 bits all the same: {', '.join(f'`{site}`' for site in report.kept_8bit)}."
    undone = [stage.does for stage in report.stages if not stage.kept]
    if undone:
        yield f"Tried and left out, as it did harm: {'; '.join(undone)}."
    if report.cancelled:
        yield "Learning was stopped before its end."
