"""Pictures as small as a page shows them."""

from PIL import Image

from .outcome import Outcome

GALLERY_LIMIT = 48
THUMBNAIL = 160
SHOWN_SIDE = 640


def thumbnails(outcome: Outcome) -> list[tuple[Image.Image, str]]:
    return [_thumbnail(outcome, index) for index in outcome.order[:GALLERY_LIMIT]]


def _thumbnail(outcome: Outcome, index: int) -> tuple[Image.Image, str]:
    picture = small(outcome.reference.samples[index].read())
    if not outcome.classifies:
        return picture, f"cosine {outcome.cosines[index]:.3f}"
    full, quantized = outcome.answers(index)
    return picture, f"{full} → {quantized}" if full != quantized else full


def small(picture: Image.Image) -> Image.Image:
    """A copy for a gallery."""
    picture = picture.copy()
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    return picture
