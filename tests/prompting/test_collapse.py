"""A model that answers always the same is told apart from one that sees."""

import pytest
import torch
from PIL import Image
from segment_anything.modeling import Sam

from tests import sam as tiny
from tests.nasty import sentence
from tests.prompting.near import near_the_click
from vitq_core.prompting import signs_of_collapse

PICTURES = [Image.fromarray(tiny.picture(seed)) for seed in range(3)]


@pytest.fixture
def sam() -> Sam:
    return tiny.tiny_sam().requires_grad_(False)


def test_a_model_that_sees_shows_none() -> None:
    assert signs_of_collapse(near_the_click(), PICTURES) == ()


def test_two_pictures_that_hardly_differ_are_told_apart() -> None:
    changed = tiny.picture(0)
    changed[:8, :8] += 60
    assert signs_of_collapse(near_the_click(), [PICTURES[0], Image.fromarray(changed)]) == ()


def test_the_same_embedding_for_everything_is_reported(sam: Sam) -> None:
    sam.image_encoder.patch_embed.proj.weight.zero_()
    (text,) = signs_of_collapse(sam, PICTURES)
    assert "same in different pictures" in sentence(text)


@pytest.mark.parametrize(("threshold", "word"), [(1e9, "empty"), (-1e9, "the whole picture")])
def test_masks_that_are_all_empty_or_full_are_reported(sam: Sam, threshold: float, word: str) -> None:
    sam.mask_threshold = threshold
    (text,) = signs_of_collapse(sam, PICTURES)
    assert word in sentence(text)


def test_numbers_that_are_none_are_reported(sam: Sam) -> None:
    with torch.no_grad():
        sam.image_encoder.neck[0].weight[0] = float("nan")
    (text,) = signs_of_collapse(sam, PICTURES)
    assert "NaN" in sentence(text)


def test_two_pictures_that_differ_are_needed(sam: Sam) -> None:
    for pictures in ([], PICTURES[:1], [PICTURES[0], PICTURES[0].copy()]):
        with pytest.raises(ValueError, match="two pictures that differ"):
            signs_of_collapse(sam, pictures)
