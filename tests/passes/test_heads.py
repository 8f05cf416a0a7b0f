"""The passes that prepare heads: whoever watches hears of every chunk of pictures, and can stop there."""

from dataclasses import replace

import pytest

import vitq_core as vq
from vitq_core.tasks import TASKS

RECIPE = replace(vq.recipe("minmax", 4, 4), passes=("centre_heads", "calibrate"))
CHUNK = TASKS["classification"].chunk
SAID = "Centring attention heads"


def test_every_chunk_of_pictures_is_told(model, pictures) -> None:
    heard = []
    vq.quantize(
        model, pictures(model, 2 * CHUNK + 1), RECIPE, progress=lambda done, text: heard.append((done, text))
    )
    centring = [done for done, text in heard if text == SAID]
    assert len(centring) == 3
    assert centring == sorted(set(centring))


def test_it_stops_between_chunks(model, pictures) -> None:
    heard = []
    with pytest.raises(vq.Cancelled):
        vq.quantize(
            model, pictures(model, 2 * CHUNK + 1), RECIPE,
            progress=lambda done, text: heard.append(text), cancel=lambda: SAID in heard,
        )  # fmt: skip
    assert heard.count(SAID) == 1
