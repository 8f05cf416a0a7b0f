"""Pictures as small as a page shows them."""

from PIL import Image

from vitq_core.experiment.measure import Cancel, opened

from .outcome import Outcome

GALLERY_LIMIT = 48
THUMBNAIL = 160
SHOWN_SIDE = 640


def thumbnails(outcome: Outcome, cancel: Cancel | None = None) -> list[tuple[Image.Image, str]]:
    """(picture, caption) of those that changed most. Raises vq.Cancelled."""
    shown = outcome.order[:GALLERY_LIMIT]
    read = opened([outcome.reference.samples[index] for index in shown], cancel)
    return [
        (small(picture), _caption(outcome, index)) for index, (_, picture) in zip(shown, read, strict=True)
    ]


def _caption(outcome: Outcome, index: int) -> str:
    if not outcome.classifies:
        return f"cosine {outcome.cosines[index]:.3f}"
    full, quantized = outcome.answers(index)
    return f"{full} → {quantized}" if full != quantized else full


def small(picture: Image.Image) -> Image.Image:
    """A copy for a gallery."""
    picture = picture.copy()
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    return picture
