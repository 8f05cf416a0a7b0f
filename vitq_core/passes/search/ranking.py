"""The search of "Post-Training Quantization for Vision Transformer" (Liu et al., arXiv 2106.14156): the scale
whose output correlates best with the one in full precision; of attention scores, also keeps their order."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from . import product
from .descent import alternate, closed_in, parts
from .layer import SearchedLayer
from .operand import Operand
from .product import Calls, rows_of_part
from .similarity import even_rows, pairs, pearson, row_losses

GAMMA = 0.1  # what the order counts beside the correlation


@dataclass(frozen=True)
class Pictures:
    """Some pictures (windows, questions): ``left`` [B, …, rows, inner], ``right`` […, inner, columns], the
    ``bias`` of the columns, and what comes of them in full precision."""

    left: Tensor
    right: Tensor
    bias: Tensor | None
    target: Tensor


def pictures_of(part: nn.Module, found: SearchedLayer, calls: Calls) -> list[Pictures]:
    """As many in each as make a handful of work."""
    made: list[Pictures] = []
    bias = columns_bias(part) if found.right_first else None
    for inputs in calls.inputs:
        left = (
            rows_of_part(part, inputs[0]).unflatten(0, (len(inputs[0]), -1))
            if found.right_first
            else inputs[0]
        )
        count = max(1, product.LIMIT // (8 * left[0].numel()))
        rights = [None] * len(left) if found.right_first else inputs[1].split(count)
        for some, right in zip(left.split(count), rights, strict=False):
            right = found.weight if right is None else right
            made.append(Pictures(some, right, bias, _output(some @ right, bias)))
    return made


def columns_bias(part: nn.Module) -> Tensor | None:
    """The layer's bias, for each column of its product."""
    bias = getattr(part, "bias", None)
    if bias is None or not isinstance(part, nn.ConvTranspose2d):
        return bias
    down, across = part.kernel_size
    return bias.repeat_interleave(down * across)


def _output(output: Tensor, bias: Tensor | None) -> Tensor:
    return output if bias is None else output + bias


class RankingSearch:
    """Of one layer. ``ordered``: whether the order of what it gives counts too; ``summed``: as a sum over
    pairs, as printed, which then is nearly all that counts, or in the mean."""

    def __init__(
        self, found: SearchedLayer, pictures: list[Pictures], ordered: bool, summed: bool, all_tried: bool
    ) -> None:
        self._found, self._pictures = found, pictures
        self._ordered, self._summed, self._all_tried = ordered, summed, all_tried

    def search(self, rounds: int) -> None:
        """Choose candidates for both operands in turn until none changes, in place."""
        first, second = self._found.operands[::-1] if self._found.right_first else self._found.operands
        second.begin()
        alternate(first, second, self._best, rounds)

    def _best(self, operand: Operand, other: Operand) -> Tensor:
        known: dict[int, Tensor] = {}

        def best_of(numbers: Tensor) -> int:
            new = numbers[[int(number) not in known for number in numbers]]
            known.update(zip(new.tolist(), self._scores(operand, other, new), strict=True))
            return int(torch.stack([known[int(number)] for number in numbers]).argmax())

        count = operand.candidates
        best = best_of(torch.arange(count)) if self._all_tried else closed_in(count, best_of, operand.near)
        return torch.full((operand.groups,), best)

    def _scores(self, operand: Operand, other: Operand, numbers: Tensor) -> Tensor:
        """[numbers]: ``Γ − γL``, in the mean over the pictures."""
        total, count = (
            torch.zeros(len(numbers), dtype=torch.float64),
            sum(len(p.left) for p in self._pictures),
        )
        for each in self._pictures:
            right = operand is self._found.right
            mine, beside = (each.right, each.left) if right else (each.left, each.right)
            beside, together = other.now(beside), product.LIMIT // max(each.target.numel(), mine.numel())
            scores = []
            for some in parts(numbers, together):
                tried = operand.each(mine, some)
                tried = tried.unsqueeze(1) if tried.ndim <= beside.ndim else tried  # a weight
                output = _output(beside @ tried if right else tried @ beside, each.bias)
                scores.append(self._score(each.target, output, count))
            total += torch.cat(scores).double().cpu() / count
        return total

    def _score(self, target: Tensor, output: Tensor, count: int) -> Tensor:
        """[candidates]: sums over the pictures."""
        alike = pearson(target, output).sum(1)
        return alike - GAMMA * self._disorder(target, output, count) if self._ordered else alike

    def _disorder(self, target: Tensor, output: Tensor, count: int) -> Tensor:
        """[candidates]: sums over the pictures, of an even choice of their rows."""
        columns, rows = target.shape[-1], target.flatten(0, -2)
        every = even_rows(len(rows) * count // len(target), columns)
        lost = row_losses(rows[every], output.flatten(1, -2)[:, every])
        mean = lost.mean(1) / max(1, pairs(columns))
        whole = pairs(columns) * target.shape[-2] if self._summed else 1
        return mean * whole * len(target)


def correction(found: SearchedLayer, pictures: list[Pictures]) -> Tensor:
    """[columns]: the mean of ``Ô − O`` over all pictures and rows, to be taken from the bias."""
    off, rows = 0, 0
    for each in pictures:
        output = found.left.now(each.left) @ found.right.now(each.right)
        off = off + (output - each.left @ each.right).flatten(0, -2).sum(0)
        rows += each.target.flatten(0, -2).shape[0]
    return off / rows


def corrected(part: nn.Module, off: Tensor) -> None:
    """Take ``off`` [columns] from the layer's bias, in place; a layer without one gets one."""
    if isinstance(part, nn.ConvTranspose2d):
        off = off.unflatten(0, (part.out_channels, -1)).mean(1)
    bias = torch.zeros_like(off) if part.bias is None else part.bias
    part.bias = nn.Parameter(bias - off, requires_grad=False)
