"""A block's error as the whole model's answers hear of it, not its own output alone (after GLF-Q)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..common.batch import Batch
from ..data.calibration_set import PictureStore
from ..data.store import TreeStore
from ..graph.segments import bypassed, segments
from ..graph.site import Unit
from ..tasks import Outputs, Task, task_of


@dataclass
class Beyond:
    """The float model behind one block. ``done``: the blocks up to it, each with how many tensors it gives;
    ``expected``: the float model's answers to ``pictures``. ``scale``: of the loss beside the block's own."""

    model: nn.Module
    task: Task
    done: dict[str, int]
    pictures: PictureStore
    expected: TreeStore
    scale: float = 1.0

    def loss(self, output: Any, index: Tensor) -> Tensor:
        """Of the answers where the block gives ``output`` for the pictures of these numbers [n]."""
        return self.task.loss(self._answers(output, index), self.expected[index])

    def losses(self, output: Any, index: Tensor) -> tuple[float, float]:
        """As :meth:`loss`, and that of zeros in the answers' place."""
        answers, expected = self._answers(output, index), self.expected[index]
        zeros = {name: torch.zeros_like(part) for name, part in answers.items()}
        return float(self.task.loss(answers, expected)), float(self.task.loss(zeros, expected))

    def _answers(self, output: Any, index: Tensor) -> Outputs:
        with bypassed(self.model, self.done, output):
            return self.task.run(self.model, self.pictures[index])


def check_chain(model: nn.Module, blocks: list[str], one: Batch) -> None:
    """Raises ValueError where what is behind a block is not all that hears of it. ``one``: of one picture."""
    if isinstance(one.args[0], list) or len(segments(model, blocks, one)) == 1:
        raise ValueError(
            "answers is for models whose blocks run one after the other, on pictures of one size; "
            "leave it out here"
        )


def beyond_blocks(
    model: nn.Module, units: list[Unit], blocks: list[str], pictures: PictureStore
) -> dict[str, Beyond]:
    """{unit: what is behind it}, for units that are blocks. Raises ValueError as :func:`check_chain` does."""
    check_chain(model, blocks, pictures[torch.tensor([0])])
    names, task, expected = {unit.name for unit in units}, task_of(model), pictures.new()
    with torch.no_grad():
        for chunk in pictures:
            expected.append(task.run(model, chunk))
    return {
        block: Beyond(model, task, dict.fromkeys(blocks[: index + 1], 1), pictures, expected)
        for index, block in enumerate(blocks)
        if block in names
    }
