"""Windows and masks are those of timm, and of loops."""

import pytest
import torch
from timm.models.swin_transformer import SwinTransformerBlock, window_partition, window_reverse

from vitq_core.graph.swin.windows import BLOCKED, merged, partitioned, shift_mask

CASES = [
    ((4, 6), (2, 3), (1, 1)),
    ((6, 6), (3, 3), (1, 1)),
    ((8, 4), (4, 4), (2, 0)),
    ((4, 12), (2, 4), (0, 2)),
]


@pytest.mark.parametrize(("size", "window", "_"), CASES)
def test_cut_and_put_together(size: tuple, window: tuple, _: tuple) -> None:
    x = torch.randn(3, *size, 5, generator=torch.Generator().manual_seed(0))
    windows = partitioned(x, window)
    theirs = window_partition(x, window)
    assert torch.equal(windows, theirs.reshape(3, -1, window[0] * window[1], 5))
    assert torch.equal(merged(windows, window, *size), window_reverse(theirs, window, *size))
    assert torch.equal(merged(windows, window, *size), x)


@pytest.mark.parametrize(("size", "window", "shift"), CASES)
def test_the_mask_is_timms_and_says_what_was_no_neighbour(size: tuple, window: tuple, shift: tuple) -> None:
    like = torch.zeros(1, dtype=torch.float64)
    mask = shift_mask(*size, window, shift, like)
    block = SwinTransformerBlock(8, size, window_size=window, shift_size=shift, always_partition=True)
    assert mask.dtype == torch.float64 and torch.equal(mask[:, 0].float(), block.attn_mask)
    # Positions that were apart before the map was rolled: those whose distance is another one now.
    rows, columns = (torch.arange(length).roll(-steps) for length, steps in zip(size, shift, strict=True))
    before = torch.stack((rows[:, None].expand(size), columns[None].expand(size)), -1)[None]
    after = torch.stack(torch.meshgrid(*map(torch.arange, size), indexing="ij"), -1)[None]
    far = [partitioned(places, window)[0] for places in (before, after)]
    moved = far[0] - far[1]
    for window_number, cell in enumerate(moved):
        for i, mine in enumerate(cell):
            for j, other in enumerate(cell):
                expected = 0.0 if torch.equal(mine, other) else BLOCKED
                assert mask[window_number, 0, i, j] == expected
