"""Parts of pictures: as large as these, inside of them, drawn by the generator."""

import pytest
import torch

from vitq_core.data.views import LEAST, parts_of


def drawn(pictures: torch.Tensor, seed: int = 0) -> torch.Tensor:
    return parts_of(pictures, torch.Generator().manual_seed(seed))


def test_a_part_has_the_size_of_its_picture_and_the_generator_decides_it() -> None:
    pictures = torch.rand(3, 2, 20, 30)
    found = drawn(pictures)
    assert found.shape == pictures.shape and torch.equal(found, drawn(pictures))
    assert not torch.equal(found, drawn(pictures, 1)) and not torch.allclose(found, pictures, atol=1e-2)


def test_a_part_lies_inside_and_shows_its_share() -> None:
    """Of ramps of rows and columns: their ends say where a part begins and ends, and which way it faces."""
    rows, columns = torch.meshgrid(torch.arange(100.0), torch.arange(50.0), indexing="ij")
    found = drawn(torch.stack([rows, columns]).expand(200, 2, 100, 50))
    down, across = found[:, 0, :, 25], found[:, 1, 50, :]
    height, width = down[:, -1] - down[:, 0], across[:, -1] - across[:, 0]
    assert found[:, 0].min() > -1 and found[:, 0].max() < 100 and found[:, 1].max() < 50
    assert (height > 0).all() and 0.4 < (width > 0).float().mean() < 0.6
    area = (height / 99) * (width.abs() / 49)
    assert area.min() > LEAST - 0.1 and area.max() < 1.02 and area.mean() == pytest.approx(0.7, abs=0.05)
    assert down[:, 0].min() < 3 and down[:, -1].max() > 96


def test_a_picture_of_one_pixel_is_its_own_part() -> None:
    one = torch.full((2, 3, 1, 1), 5.0)
    torch.testing.assert_close(drawn(one), one)
