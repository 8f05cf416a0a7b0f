"""What lies beside an exported file for whoever gets it: what it is, how near it is, how to run it."""

from __future__ import annotations

from ..quantized.result import QuantizeResult
from .base import Exporter
from .certificate import Certificate

TEXT = """# A quantized vision transformer: {title}

`{file}` ({megabytes:.1f} MB; {fp32:.1f} MB in full precision) was quantized by the recipe
`{recipe}` and written by VitQ Studio.

{how}

## How near it is to the model that was shown

On {n}, file and simulation side by side: the largest difference of any output is {difference:.3g}
(outputs deviate by {spread:.3g}), the least cosine of the outputs to one {cosine:.5f}{agreement}.
Where its pictures change by a millionth the simulation differs from itself by {own:.3g} (cosine
{own_cosine:.5f}){nearer}.
{integers}
{sentences}

`certificate.json` holds these figures, and the SHA-256 of the file.
"""


def readme(exporter: Exporter, result: QuantizeResult, certificate: Certificate) -> str:
    """Markdown."""
    agreement = "" if certificate.agreement is None else f", the same class in {certificate.agreement:.1%}"
    if certificate.agreement_iou is not None:
        agreement = f", the mean IoU of the masks {certificate.agreement_iou:.4f}"
    integers = "" if certificate.integer_nodes is None else (
        f"{certificate.integer_nodes} of {certificate.promised} matrix products in the file are of integers; "
        f"on the machine that wrote it {certificate.kernels} ran as integers.\n"
    )  # fmt: skip
    return TEXT.format(
        title=exporter.title,
        file=certificate.named,
        megabytes=certificate.bytes / 1e6,
        fp32=certificate.fp32_bytes / 1e6,
        recipe=result.recipe.name,
        how=exporter.how(result),
        n=certificate.counted,
        difference=certificate.max_difference,
        spread=certificate.spread,
        cosine=certificate.cosine,
        agreement=agreement,
        nearer=": no file can be expected to be nearer" if certificate.as_near else "",
        own=certificate.own_difference,
        own_cosine=certificate.own_cosine,
        integers=integers,
        sentences="".join(f"\n- {sentence}" for sentence in certificate.sentences),
    )
