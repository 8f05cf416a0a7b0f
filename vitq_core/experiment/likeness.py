"""Whether a picture is like those that a model was calibrated and tested on, told by its features.

Two views of a picture, both of the full-precision model: what goes into its head, which knows what tells
classes apart, and the mean of its last tokens, which also knows what a picture looks like. A view's distance
is that to the nearest picture of the run, every feature divided by its deviation; its limit is what 99 % of
the test pictures keep, each measured against all others. A picture beyond the limit of either is unlike.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor, nn

from ..common.modes import evaluating
from ..models import Model
from ..tasks.features import tokens_kept
from ..tasks.heads import head_of
from .measure import Batches

KEPT = 512  # pictures of each kind that are remembered: a few megabytes
FEWEST = 32  # test pictures: with fewer, more than one usual picture of sixteen would be called unlike
SHARE = 0.01  # of usual pictures that lie beyond a view's limit
STEADY = 0.1  # of the mean deviation, added to each: a feature that hardly varies must not decide alone

Features = dict[str, Tensor]  # {view: [N, D]}


class Seen:
    """The features of the pictures that pass through a model; of at most `limit`."""

    def __init__(self, limit: int = KEPT, channels_last: bool = False):
        """`channels_last`: of maps; where they are not the last axis of a map they are its second."""
        self.limit, self.channels_last = limit, channels_last
        self._parts: dict[str, list[Tensor]] = {}

    def add(self, view: str, values: object) -> None:
        if isinstance(values, Tensor) and values.ndim >= 2:
            parts = self._parts.setdefault(view, [])
            room = self.limit - sum(map(len, parts))
            if room > 0:
                parts.append(_pooled(values.detach()[:room], self.channels_last).float().cpu())

    @property
    def features(self) -> Features:
        return {view: torch.cat(parts) for view, parts in self._parts.items()}


def _pooled(values: Tensor, channels_last: bool) -> Tensor:
    """[B, D] of features, tokens [B, T, D] or maps [B, H, W, D], or [B, D, H, W]."""
    if values.ndim == 2:
        return values
    if values.ndim > 3 and not channels_last:
        values = values.flatten(2).transpose(1, 2)
    return values.flatten(1, -2).mean(1)


def _channels_last(module: nn.Module) -> bool:
    """As timm's models say of their maps; those of windows have their channels last."""
    return getattr(module, "output_fmt", None) == "NHWC"


@contextmanager
def watching(module: nn.Module, limit: int = KEPT) -> Iterator[Seen]:
    """Remembers the features of every forward pass inside, one row for each picture."""
    seen, head = Seen(limit, _channels_last(module)), head_of(module)

    def tokens(values: object) -> None:
        if isinstance(values, Tensor) and values.ndim >= 3:
            seen.add("tokens", values)

    with ExitStack() as stack:
        stack.enter_context(tokens_kept(module, tokens))
        if isinstance(head, nn.Module) and not isinstance(head, nn.Identity):
            hook = head.register_forward_pre_hook(lambda part, inputs: seen.add("pooled", inputs[0]))
        else:
            hook = module.register_forward_hook(lambda part, inputs, answer: seen.add("pooled", answer))
        stack.enter_context(hook)
        yield seen


def features_of(model: Model, batches: Batches) -> Features:
    """Of the first pictures of `batches`, at most `KEPT`; a forward pass each. Raises Cancelled."""
    done = 0
    with watching(model.module) as seen, evaluating(model.module), torch.inference_mode():
        for images, _ in batches:
            model.module(images.to(next(model.module.parameters()).device))
            done += len(images)
            if done >= KEPT:
                break
    return seen.features


@dataclass(frozen=True, eq=False)
class View:
    """The run's pictures as one view sees them: `known` [N, D], divided by `deviation` [D]."""

    known: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, features: Tensor) -> View:
        deviation = features.std(0, correction=0)
        deviation = (deviation + STEADY * deviation.mean()).clamp_min(torch.finfo(features.dtype).tiny)
        return cls(features / deviation, deviation)

    def distance(self, features: Tensor) -> Tensor:
        """[N]: of features [N, D], to the nearest known picture."""
        return torch.cdist(features / self.deviation, self.known).amin(1)

    def own(self, tested: int) -> Tensor:
        """[tested]: of each of the last `tested` known pictures, to the nearest other one."""
        mine = self.known[-tested:]
        # Exact differences: the fast way is off where pictures are very near each other.
        distances = torch.cdist(mine, self.known, compute_mode="donot_use_mm_for_euclid_dist")
        first = len(self.known) - tested
        distances[torch.arange(tested), first + torch.arange(tested)] = torch.inf
        return distances.amin(1)


@dataclass(frozen=True, eq=False)
class Likeness:
    """`views` and the `limits` of their distances, by name. `tested`: how many test pictures set these."""

    views: dict[str, View]
    limits: dict[str, float]
    tested: int

    @property
    def chance(self) -> float:
        """About this share of usual pictures is called unlike, or fewer: what each view may, added up."""
        return len(self.views) * max(SHARE, 1 / (self.tested + 1))

    def unlike(self, features: Features) -> Tensor:
        """bool [N]: whether each picture lies beyond a limit. Raises KeyError where a view is missing."""
        beyond = [view.distance(features[name]) > self.limits[name] for name, view in self.views.items()]
        return torch.stack(beyond).any(0)


def likeness(calibration: Features, tested: Features) -> Likeness | None:
    """None where there are too few test pictures to tell, or where they are all one picture."""
    count = min((len(features) for features in tested.values()), default=0)
    if count < FEWEST:
        return None
    views = {name: View.of(torch.cat([calibration[name], tested[name]])) for name in calibration}
    limits = {name: _limit(view.own(count)) for name, view in views.items()}
    return Likeness(views, limits, count) if all(limit > 0 for limit in limits.values()) else None


def _limit(distances: Tensor) -> float:
    """What another such distance exceeds with a chance of `SHARE`, or 1/(n + 1) where n is small."""
    rank = min(ceil((len(distances) + 1) * (1 - SHARE)), len(distances))
    return float(distances.sort().values[rank - 1])
