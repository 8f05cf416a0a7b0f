"""The least and greatest inputs of layers, picture by picture, and what they tell of pictures to come."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from torch import nn

from tests.swin import pictures as swin_pictures
from tests.swin import tiny_swin
from vitq_core.experiment.extremes import Extremes, expected_greatest, watching_extremes


def of(*values: list[float]) -> Extremes:
    """One layer whose inputs reach from the first to the second of each."""
    return Extremes(("layer",), *torch.tensor(values).T[..., None])


def drawn(count: int, seed: int, spread: float = 1.0) -> Extremes:
    rows = spread * torch.randn(count, 40, 50, generator=torch.Generator().manual_seed(seed))
    return Extremes(tuple(map(str, range(40))), rows.amin(2), rows.amax(2))


@pytest.mark.parametrize("count", [1, 2, 4, 5])
def test_the_greatest_of_some_is_the_mean_over_all_choices(count) -> None:
    values = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).double()
    naive = torch.stack([values[list(chosen)].amax(0) for chosen in combinations(range(5), count)]).mean(0)
    torch.testing.assert_close(expected_greatest(values, count), naive)


def test_what_lies_beyond_is_counted_end_by_end() -> None:
    measured = of([-1, 1], [-2, 0.5])
    assert measured.beyond(of([-2, 1], [0, 0.1])) == 0
    assert measured.beyond(of([-3, 0], [-3, 4])) == 3 / 4
    assert measured.excess(of([-2, 3], [-2, 3])) == pytest.approx(2 / 5)
    assert measured.excess(of([-1, 1], [-1, 1])) == 0


@pytest.mark.parametrize("count", [4, 16, 64])
def test_of_pictures_of_one_kind_it_is_one_in_so_many_and_one_more(count) -> None:
    shares = [drawn(count, seed).beyond(drawn(200, 1000 + seed)) for seed in range(5)]
    assert sum(shares) / 5 == pytest.approx(1 / (count + 1), rel=0.2)
    assert drawn(count, 0).beyond(drawn(200, 1, spread=2)) > 3 / (count + 1)


def test_every_picture_is_seen_by_itself(model, pictures) -> None:
    images, before = pictures(model, 5), set(vars(model))
    with torch.no_grad():
        with watching_extremes(model, 9) as seen:
            model(images[:3])
            model(images[3:])
        head = model.forward_head(model.forward_features(images), pre_logits=True)
    found = seen.extremes
    at = found.names.index("head")
    torch.testing.assert_close(found.highs[:, at], head.amax(1))
    torch.testing.assert_close(found.lows[:, at], head.amin(1))
    at = found.names.index("patch_embed.proj")
    torch.testing.assert_close(found.highs[:, at], images.amax((1, 2, 3)))
    weighted = [name for name, part in model.named_modules() if isinstance(part, (nn.Linear, nn.Conv2d))]
    assert sorted(weighted) == list(found.names) and len(found) == 5
    assert set(vars(model)) == before and not any(part._forward_pre_hooks for part in model.modules())


def test_windows_belong_to_their_picture() -> None:
    model = tiny_swin()
    images = swin_pictures(model, 3)
    with torch.no_grad():
        with watching_extremes(model, 9) as together:
            model(images)
        with watching_extremes(model, 9) as alone:
            for image in images:
                model(image[None])
    assert any("attn.qkv" in name for name in together.extremes.names)
    for part in ("lows", "highs"):
        one, other = getattr(together.extremes, part), getattr(alone.extremes, part)
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_no_more_are_kept_than_asked_for(model, pictures) -> None:
    with torch.no_grad(), watching_extremes(model, 5) as seen:
        assert seen.extremes is None
        for _ in range(3):
            model(pictures(model, 4))
    assert len(seen.extremes) == 5
