"""The search finds what trying everything finds, for every kind of layer."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from vitq_core.graph.ops import MatMul
from vitq_core.graph.site import Site
from vitq_core.passes.search import hessian
from vitq_core.passes.search.operand import COLUMNS, HEADS, Operand, extremes
from vitq_core.passes.search.product import Calls, pieces_of
from vitq_core.quantizers import Symmetric, TwinSoftmax
from vitq_core.quantizers.kernels.scaled import factors

FACTORS = factors(0.2, 1.2, 12)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def operand(quantizer, x: Tensor, axis: int | None = None, groups: int = 1) -> Operand:
    size = 1 if axis is None else x.shape[axis]
    made = Operand(Site("layer", "input", "features"), quantizer, axis, size)
    made.propose(*extremes(x, axis, groups), FACTORS)
    return made


def loss(output: Tensor, target: Tensor, gradient: Tensor) -> Tensor:
    return (gradient * (output - target)).square()


LAYERS = {
    "linear": (nn.Linear(6, 9), (5, 7, 6)),
    "convolution": (nn.Conv2d(3, 6, 2, 2), (4, 3, 6, 6)),
    "padded convolution": (nn.Conv2d(3, 6, 3, padding=1), (4, 3, 5, 5)),
    "transposed convolution": (nn.ConvTranspose2d(4, 3, 2, 2), (4, 4, 3, 5)),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("groups", [1, 3])
def test_a_weight_and_its_input(name: str, groups: int) -> None:
    part, shape = LAYERS[name]
    if groups > 1 and isinstance(part, nn.ConvTranspose2d):
        pytest.skip("its rows are inputs")
    x = noise(*shape)
    weight, output = part.weight.detach(), part(x).detach()
    gradient = noise(*output.shape, seed=1)
    pieces = pieces_of(part, weight, Calls([(x[:3],), (x[3:],)], [gradient[:3], gradient[3:]]))
    of_weight, of_input = Symmetric(4, groups=groups), Symmetric(4)
    right = operand(of_weight, pieces[0].right, COLUMNS if groups > 1 else None, groups)
    left = operand(of_input, x)
    hessian.search(left, right, pieces, 3, right_first=True)

    def error(scales: Tensor, scale: Tensor) -> Tensor:
        """[groups]."""
        spread = scales.repeat_interleave(len(weight) // groups).reshape(-1, *[1] * (weight.ndim - 1))
        shown = of_weight.rounded(weight, spread if groups > 1 else scales[0])
        bent = replace_weight(part, shown, of_input.rounded(x, scale))
        lost = loss(bent, output, gradient)
        channels = -1 if isinstance(part, nn.Linear) else 1
        return lost.movedim(channels, 0).reshape(groups, -1).sum(1)

    scales, scale = right.start["scale"], left.start["scale"]
    for _ in range(3):
        errors = torch.stack([error(each, scale) for each in right.tried["scale"]])
        scales = right.tried["scale"].gather(0, errors.argmin(0, keepdim=True))[0]
        errors = torch.stack([error(scales, each).sum() for each in left.tried["scale"]])
        scale = left.tried["scale"][errors.argmin()]
    assert torch.equal(right.parameters["scale"], scales)
    assert torch.equal(left.parameters["scale"], scale)


def replace_weight(part: nn.Module, weight: Tensor, x: Tensor) -> Tensor:
    return torch.func.functional_call(part, {"weight": weight}, (x,)).detach()


@pytest.mark.parametrize("softmax", [False, True])
def test_two_activations(softmax: bool) -> None:
    """A scale for each head; the split of an attention map is chosen while values are in full precision."""
    a, b = noise(6, 2, 5, 4), noise(6, 2, 4, 5, seed=1)
    a = (3 * noise(6, 2, 5, 4)).softmax(-1) if softmax else a
    target, gradient = a @ b, noise(6, 2, 5, 5, seed=2)
    pieces = pieces_of(MatMul(), None, Calls([(a[:4], b[:4]), (a[4:], b[4:])], [gradient[:4], gradient[4:]]))
    of_a = TwinSoftmax(4) if softmax else Symmetric(4, axis=1)
    left, right = (
        operand(of_a, a, *(() if softmax else (HEADS, 2))),
        operand(Symmetric(4, axis=1), b, HEADS, 2),
    )
    hessian.search(left, right, pieces, 3, right_first=False)

    def error(a_: Tensor, b_: Tensor) -> Tensor:
        return loss(a_ @ b_, target, gradient).sum((0, 2, 3))

    def best(one: Operand, x: Tensor, output) -> Tensor:
        tried = [one.each(x, torch.tensor([number]))[0] for number in range(one.candidates)]
        errors = torch.stack([output(each) for each in tried])
        errors = errors.sum(1, keepdim=True) if one.axis is None else errors
        return errors.argmin(0)

    begin = Symmetric(4, axis=1).rounded(b, right.start["scale"][:, None, None])
    if softmax:
        chosen = best(left, a, lambda each: error(each, b))
        assert torch.equal(left.chosen, chosen)
        assert torch.equal(right.chosen, best(right, b, lambda each: error(left.now(a), each)))
        return
    shown = [begin]
    for _ in range(3):
        left.choose(best(left, a, lambda each: error(each, shown[-1])))
        right.choose(best(right, b, lambda each: error(left.now(a), each)))
        shown.append(right.now(b))
    found = left.chosen, right.chosen
    hessian.search(left, right, pieces, 3, right_first=False)
    assert all(torch.equal(*pair) for pair in zip(found, (left.chosen, right.chosen), strict=True))


def test_without_any_gradient_errors_count_evenly() -> None:
    part, x = nn.Linear(6, 4), noise(9, 6)
    gradient = torch.zeros(9, 4)
    found = []
    for given in (gradient, torch.ones_like(gradient)):
        pieces = pieces_of(part, part.weight.detach(), Calls([(x,)], [given]))
        left, right = operand(Symmetric(3), x), operand(Symmetric(3), part.weight.detach())
        hessian.search(left, right, pieces, 3, right_first=True)
        found.append((left.chosen, right.chosen))
    assert found[0] == found[1] and int(found[0][0]) > 0


def test_a_group_without_a_gradient_is_not_left_to_the_first_candidate() -> None:
    part, x = nn.Linear(6, 6), noise(9, 6)
    gradient = noise(9, 6, seed=1)
    gradient[:, :2] = 0
    pieces = pieces_of(part, part.weight.detach(), Calls([(x,)], [gradient]))
    left, right = operand(Symmetric(4), x), operand(Symmetric(4, groups=3), pieces[0].right, COLUMNS, 3)
    hessian.search(left, right, pieces, 1, right_first=True)
    assert (right.chosen > 2).all()
    other = replace(right)
    assert functional.mse_loss(other.now(pieces[0].right), pieces[0].right) < 0.01
