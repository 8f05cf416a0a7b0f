"""Muon (Jordan et al., 2024): momentum whose matrix is made orthogonal before the step, here in float32.

timm and torch both have Muon, but iterate in bfloat16: on CPUs without AMX that takes three times as long.
"""

from collections.abc import Collection, Iterable, Mapping

import torch
from torch import Tensor, nn

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def orthogonalize(matrix: Tensor, steps: int = 5) -> Tensor:
    """The semi-orthogonal matrix nearest to `matrix` [..., rows, cols], roughly: singular values near 1."""
    tall = matrix.size(-2) > matrix.size(-1)
    x = matrix.mT if tall else matrix
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    a, b, c = NEWTON_SCHULZ
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Muon for 2-D weights; the step has AdamW's usual size, so both share learning rate and weight decay.

    A weight three times as tall as wide (`qkv`) is treated as three square matrices.
    """

    def __init__(
        self, params: Iterable[Tensor], lr: float, weight_decay: float = 0.0, momentum: float = 0.95
    ):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, group)

    def _update(self, weight: Tensor, group: dict) -> None:
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
        state["momentum"].lerp_(weight.grad, 1 - group["momentum"])
        update = weight.grad.lerp(state["momentum"], group["momentum"])  # Nesterov
        rows, cols = weight.shape
        parts = update.view(3, cols, cols) if rows == 3 * cols else update
        direction = orthogonalize(parts).reshape(weight.shape)
        size = 0.2 * max(parts.shape[-2:]) ** 0.5  # root mean square of AdamW's step
        weight.mul_(1 - group["lr"] * group["weight_decay"]).add_(direction, alpha=-group["lr"] * size)


def optimizers(
    parts: Mapping[str, nn.Module], matrices: Collection[str], lr: float, weight_decay: float
) -> list[torch.optim.Optimizer]:
    """Muon for the weights of the `parts` named in `matrices` (``part.name``), AdamW for all others.

    Biases, norms and embeddings do not decay.
    """
    named = {f"{part}.{name}": p for part in parts for name, p in parts[part].named_parameters()}
    decayed = {n for n, p in named.items() if p.ndim > 1 and n not in matrices and not _is_embedding(n)}
    groups = [
        {"params": [named[n] for n in named if n in decayed], "weight_decay": weight_decay},
        {"params": [p for n, p in named.items() if n not in decayed.union(matrices)], "weight_decay": 0.0},
    ]
    return [
        Muon([named[n] for n in named if n in matrices], lr, weight_decay),
        torch.optim.AdamW(groups, lr, betas=(0.9, 0.98)),
    ]


def _is_embedding(name: str) -> bool:
    return any(word in name for word in ("embed", "token", "rel_pos", "relative_position"))
