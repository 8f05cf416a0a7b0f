"""Models without a head (DINOv2, towers of CLIP and SigLIP): features, measured by their cosine.

Nothing is told apart, so what is explained is the features themselves: half of their squared norm, whose
gradient is the features. The Fisher information takes the answer for the mean of a normal distribution of
unit variance: it is JᵀJ, and E[(∂(v·f)/∂O)²] over random directions v ~ N(0, I) is its diagonal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..common.batch import Batch
from ..common.errors import VitqError
from .base import TASKS, Evaluation, Metrics, Outputs, Task, check_finite, shape_of
from .heads import classes_of

FEATURES, PATCH_TOKENS, CLASS_TOKEN = "features", "patch_tokens", "class_token"


class Features(Task):
    """``features`` [B, D], or [B, T, D] where a model does not pool.

    Beside them, where timm's ``forward_features`` shows them, ``patch_tokens`` [B, T, D]: what is pooled,
    without class token and registers; and ``class_token`` [B, D].
    """

    name = "features"

    def matches(self, module: nn.Module) -> bool:
        return classes_of(module) == 0

    def run(self, module: nn.Module, batch: Batch, who: str = "the model") -> Outputs:
        kept: list[object] = []
        with tokens_kept(module, kept.append):
            outputs = super().run(module, batch, who)
        return {**outputs, **(_parts(kept[-1], module) if kept else {})}

    def outputs(self, answer: object, who: str = "the model") -> Outputs:
        if not isinstance(answer, Tensor) or answer.ndim < 2:
            raise VitqError(
                f"{who} has no head, so it must give features [N, D] or tokens [N, T, D], "
                f"got {shape_of(answer)}"
            )
        check_finite(answer, who)
        return {FEATURES: answer}

    def metrics(self) -> FeatureMetrics:
        return FeatureMetrics()

    def loss(self, outputs: Outputs, expected: Outputs) -> Tensor:
        """1 minus the mean cosine: of the patch tokens, and of the class token as much as of all patches.

        The features stand for a class token that a model does not have.
        """
        whole = CLASS_TOKEN if CLASS_TOKEN in expected else FEATURES
        parts = [name for name in (PATCH_TOKENS, whole) if name in expected]
        means = [functional.cosine_similarity(outputs[name], expected[name], dim=-1).mean() for name in parts]
        return 1 - sum(means) / len(means)

    def targets(self, outputs: Outputs, given: Tensor | None) -> None:
        return None

    def objective(self, outputs: Outputs, targets: None) -> Tensor:
        return outputs[FEATURES].flatten(1).square().sum(1) / 2

    def shares(self, outputs: Outputs, targets: None) -> Outputs:
        squares = outputs[FEATURES].square()
        total = squares.flatten(1).sum(1).clamp_min(torch.finfo(squares.dtype).tiny)
        return {FEATURES: squares / total.reshape(-1, *[1] * (squares.ndim - 1))}

    def sample(self, outputs: Outputs, generator: torch.Generator) -> Tensor:
        """A direction v: what a drawn answer lies from the features."""
        features = outputs[FEATURES]
        return torch.randn(features.shape, generator=generator).to(features)

    def likelihood(self, outputs: Outputs, answers: Tensor) -> Tensor:
        """v·f: its gradient is that of log N(f + v; f, I)."""
        return (outputs[FEATURES] * answers).flatten(1).sum(1)

    def present(self, outputs: Outputs, labels: Sequence[str] | None) -> Tensor:
        """The picture's features [D]."""
        return outputs[FEATURES][0]


TASKS.register(Features.name)(Features())


@contextmanager
def tokens_kept(module: nn.Module, heard: Callable[[object], None]) -> Iterator[None]:
    """``heard`` is told what ``forward_features`` returns. It is no module that a hook could hang on."""
    original = getattr(module, "forward_features", None)
    if not callable(original):
        yield
        return

    def keep(*args: object, **kwargs: object) -> object:
        tokens = original(*args, **kwargs)
        heard(tokens)
        return tokens

    own = vars(module).get("forward_features")
    module.forward_features = keep
    try:
        yield
    finally:
        del module.forward_features
        if own is not None:
            module.forward_features = own


def _parts(tokens: object, module: nn.Module) -> Outputs:
    """By their meaning. What is no row of tokens, as a Swin's or a convolution's features, shows none."""
    if not isinstance(tokens, Tensor) or tokens.ndim != 3:
        return {}
    parts = {PATCH_TOKENS: tokens[:, getattr(module, "num_prefix_tokens", 0) :]}
    if getattr(module, "cls_token", None) is not None:
        parts[CLASS_TOKEN] = tokens[:, 0]
    return parts


class FeatureMetrics(Metrics):
    """Sums of cosines with the reference, each with its count, and the least of a patch token."""

    def __init__(self) -> None:
        self.n = 0
        self.sums: dict[str, float] = {}
        self.counts: dict[str, int] = {}
        self.least: float | None = None

    def add(self, outputs: Outputs, truth: object, reference: Outputs | None) -> None:
        """``truth`` is passed over: features are neither right nor wrong."""
        self.n += len(outputs[FEATURES])
        if reference is None:
            return
        pairs = {name: _pair(outputs[name], reference[name]) for name in outputs.keys() & reference.keys()}
        pairs[FEATURES] = tuple(answer.flatten(1) for answer in pairs[FEATURES])
        for name, pair in pairs.items():
            found = cosines(*pair)
            self._add(name, float(found.sum()), found.numel())
            if name == PATCH_TOKENS and found.numel():
                self._reach(float(found.min()))

    def _add(self, name: str, total: float, count: int) -> None:
        self.sums[name] = self.sums.get(name, 0.0) + total
        self.counts[name] = self.counts.get(name, 0) + count

    def _reach(self, least: float) -> None:
        self.least = least if self.least is None else min(self.least, least)

    def merge(self, other: FeatureMetrics) -> None:
        self.n += other.n
        for name, total in other.sums.items():
            self._add(name, total, other.counts[name])
        if other.least is not None:
            self._reach(other.least)

    def measured(self) -> Evaluation:
        means = {name: total / self.counts[name] for name, total in self.sums.items() if self.counts[name]}
        return Evaluation(
            top1=None,
            top5=None,
            n=self.n,
            cosine=means.get(FEATURES),
            token_cosine=means.get(PATCH_TOKENS),
            class_token_cosine=means.get(CLASS_TOKEN),
            min_cosine=self.least,
        )


def _pair(actual: Tensor, expected: Tensor) -> tuple[Tensor, Tensor]:
    if actual.shape != expected.shape:
        raise ValueError(
            f"the model gives features of {list(actual.shape[1:])} but the reference of "
            f"{list(expected.shape[1:])}"
        )
    return actual, expected.to(actual.device)


def cosines(actual: Tensor, expected: Tensor) -> Tensor:
    """[…] between vectors [… , D], in double precision; 1 for two zeros, 0 for one."""
    a, b = (x.detach().double() for x in (actual, expected))
    norms = a.norm(dim=-1), b.norm(dim=-1)
    product = norms[0] * norms[1]
    found = ((a * b).sum(-1) / product.clamp_min(torch.finfo(a.dtype).tiny)).clamp(-1, 1)
    return torch.where((norms[0] == 0) & (norms[1] == 0), torch.ones_like(found), found)
