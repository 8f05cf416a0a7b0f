"""Scenes to train on, each pixel with the number of the object that it belongs to; drawn once, then read."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ....common.files import replace_file
from ...scenes import scene

NOTHING = -1  # the owner of a pixel that shows the backdrop
MOST = 8  # objects a scene lists, at most
PIECE = 64  # scenes that a process draws at a time


@dataclass(frozen=True)
class SceneMaps:
    """`images` uint8 [N, 3, S, S]; `owners` int8 [N, S, S]: numbers of objects, or NOTHING; `kinds` int8
    [N, MOST]: the label of each object, NOTHING where a scene has fewer."""

    images: Tensor
    owners: Tensor
    kinds: Tensor

    def __len__(self) -> int:
        return len(self.images)

    @property
    def size(self) -> int:
        return self.images.shape[-1]

    def halved(self) -> SceneMaps:
        """Of half the side: colours are means of four pixels, owners those of one."""
        small = [functional.avg_pool2d(part.float(), 2).round().byte() for part in self.images.split(256)]
        return SceneMaps(torch.cat(small), self.owners[:, ::2, ::2].contiguous(), self.kinds)


def drawn(count: int, seed: int, size: int, cache: Path, processes: int = 1) -> SceneMaps:
    """The first `count` scenes of `seed`; read from the folder `cache` where they were drawn before."""
    path = cache / f"maps-seed{seed}-{count}x{size}.pt"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        starts = range(0, count, PIECE)
        draw = partial(_drawn, count=count, seed=seed, size=size)
        if processes > 1:
            with ProcessPoolExecutor(processes) as pool:
                pieces = list(pool.map(draw, starts))
        else:
            pieces = list(map(draw, starts))
        images, owners, kinds = (torch.from_numpy(np.concatenate(part)) for part in zip(*pieces, strict=True))
        maps = {"images": images, "owners": owners, "kinds": kinds}
        replace_file(path, lambda new: torch.save(maps, new))
    return SceneMaps(**torch.load(path, weights_only=True, mmap=True))


def _drawn(start: int, count: int, seed: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    scenes = [scene(index, seed, size) for index in range(start, min(start + PIECE, count))]
    owners = np.full((len(scenes), size, size), NOTHING, np.int8)
    kinds = np.full((len(scenes), MOST), NOTHING, np.int8)
    for row, each in enumerate(scenes):
        for number, thing in enumerate(each.objects):
            owners[row][thing.mask] = number
            kinds[row, number] = thing.label
    return np.stack([each.image for each in scenes]).transpose(0, 3, 1, 2), owners, kinds
