"""Trains demo-sam: small pictures first, then large ones; single prompts first, then corrections too.

A training that begins with a Sam begins where another's small pictures and first lessons have ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from segment_anything.modeling import Sam
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel

from ....common.sam_shape import SamShape
from ...scenes import LABELS
from ..initialization import sincos_positions
from ..loop import Loop, LoopConfig, generator_of
from ..muon import optimizers
from .augment import augmented
from .forward import Prompts, decoded, embedded, use_size
from .losses import mask_losses, true_ious
from .measure import found
from .prompts import Prompt, anywhere, drawn_prompts
from .scene_maps import NOTHING, SceneMaps

GREY, SPREAD = (127.5,) * 3, (63.75,) * 3  # of pixels: demo-vit's, whose weights it may start with
SHAPES = {
    "wide": SamShape(
        width=192, depth=6, heads=3, global_blocks=(2, 5), img_size=256, patch_size=8, window=8,
        prompt_dim=96, decoder_mlp=192, decoder_heads=4, iou_width=96, mean=GREY, std=SPREAD,
    ),
}  # fmt: skip
PHASES = ((0.05, 4), (0.36, 2), (1.0, 1))  # until which share of the training pictures are how much smaller
FOCAL_FROM, CORRECTED_FROM, NAMED_UNTIL = 0.1, 0.5, 0.6  # shares of the training
SKIPPED = 0.6  # share of the lessons that a training has behind it where it begins with a Sam
SINGLE = 0.3  # how much the single mask counts where a click has three candidates
NAMING = 0.5  # how much naming what each patch shows counts
AVERAGED = 0.999  # of the averaged weights are kept in a step, at most
SAMPLE = 60  # scenes that judge in the log


@dataclass(frozen=True)
class SamConfig(LoopConfig):
    """How demo-sam is trained: `scenes` are drawn, `prompts` asked of each picture of a batch. `batch_size`
    is that of full-sized pictures; of smaller ones there are more.

    `start`: the folder of a ViT whose patch embedding and first blocks it begins with, or of a Sam, all of
    whose weights it takes.
    """

    shape: str = "wide"
    start: str = ""
    scenes: int = 12_000
    prompts: int = 4
    batch_size: int = 8
    minutes: float = 120
    lr: float = 2e-3
    weight_decay: float = 0.05
    report_minutes: float = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shape not in SHAPES:
            raise ValueError(f"unknown shape {self.shape!r}; available: {', '.join(SHAPES)}")
        if self.start and not Path(self.start).is_dir():
            raise ValueError(f"start must be the folder of a ViT or a Sam, and {self.start!r} is none")
        for name in ("scenes", "prompts"):
            self.check_positive(name)


class SamTrainer(Loop):
    """One training."""

    config: SamConfig

    def __init__(self, config: SamConfig, train: SceneMaps, held_out: SceneMaps, out: Path) -> None:
        torch.manual_seed(config.seed)
        self.shape = SHAPES[config.shape]
        self.sam = self.shape.build()
        _initialize(self.sam)
        self.skipped = 0.0
        if config.start:
            weights = load_file(Path(config.start) / "model.safetensors")
            if weights.keys() == self.sam.state_dict().keys():
                self.sam.load_state_dict(weights)
                self.skipped = SKIPPED
            else:
                take_weights(self.sam, weights)
        self.namer = nn.Conv2d(self.shape.prompt_dim, len(LABELS) + 1, 1)
        self.average = AveragedModel(self.sam, multi_avg_fn=_averaged)
        halved = train.halved()
        self.maps = {1: train, 2: halved, 4: halved.halved()}
        self.held_out = held_out
        # Threads that share a batch wait for each other once a step; those of one product, at every product.
        self.pool = ThreadPoolExecutor(config.threads, initializer=torch.set_num_threads, initargs=(1,))
        learning = {"sam": self.sam, "namer": self.namer}
        super().__init__(
            config,
            {**learning, "average": self.average},
            optimizers(learning, _matrices(self.sam), config.lr, config.weight_decay),
            out,
        )

    @property
    def lessons(self) -> float:
        """Share of the lessons that are done: of those of an earlier training, too."""
        return self.skipped + (1 - self.skipped) * self.progress

    def train_step(self) -> float:
        shrunk = next(times for until, times in PHASES if self.lessons < until)
        # Parts of pictures show small objects as large as they will be, at a quarter of the cost.
        cut = self.step % (3 if shrunk == 1 else 2)
        shrunk = max(shrunk, 2) if cut else shrunk
        maps, size = self.maps[shrunk // 2 if cut else shrunk], self.maps[shrunk].size
        use_size(self.sam, size)
        count = max(1, self.config.batch_size * shrunk // self.config.threads)
        shares = [partial(self._share, maps, size, count, share) for share in range(self.config.threads)]
        losses = list(self.pool.map(lambda share: share(), shares))
        self.descend()
        self.average.update_parameters(self.sam)
        return sum(losses)

    def _share(self, maps: SceneMaps, size: int, count: int, share: int) -> float:
        """What one thread does of a step: the gradient of `count` pictures; returns its part of the loss."""
        config, place = self.config, self.step * self.config.threads + share
        generator = generator_of(config.seed + 1, place)
        rng = np.random.default_rng([config.seed, place])
        index = torch.randint(len(maps), (count,), generator=generator)
        mean, std = self.sam.pixel_mean, self.sam.pixel_std
        pictures, owners = augmented(maps.images[index], maps.owners[index], size, mean, std, generator)
        asked = [drawn_prompts(each, config.prompts, rng) for each in owners.numpy()]
        with self.products():
            embeddings = embedded(self.sam, pictures)
            loss = self._asked(embeddings, asked, rng)
            if self.lessons < NAMED_UNTIL:
                loss = loss + NAMING * self._naming(embeddings, owners, maps.kinds[index])
            loss = loss / config.threads
        loss.backward()
        return loss.item()

    def _naming(self, embeddings: Tensor, owners: Tensor, kinds: Tensor) -> Tensor:
        """Cross-entropy of telling from the embedding what is in the middle of each patch."""
        patch, backdrop = self.shape.patch_size, len(LABELS)
        numbers = owners[:, patch // 2 :: patch, patch // 2 :: patch].long()
        names = kinds.long().gather(1, numbers.clamp_min(0).flatten(1)).view_as(numbers)
        names = torch.where(numbers == NOTHING, backdrop, names)
        return functional.cross_entropy(self.namer(embeddings).float(), names)

    def _asked(self, embeddings: Tensor, asked: list[list[Prompt]], rng: np.random.Generator) -> Tensor:
        """The loss of the answers to all prompts, and of those after corrections."""
        pairs = [(i, prompt) for i, prompts in enumerate(asked) for prompt in prompts]
        pairs.sort(key=lambda pair: pair[1].box is not None)
        prompts, meant = _prompts([prompt for _, prompt in pairs]), [prompt.mask for _, prompt in pairs]
        embeddings = embeddings[torch.tensor([i for i, _ in pairs])]
        targets = self._targets(meant, 4 * embeddings.shape[-1])
        real = torch.tensor([mask is not None for mask in meant])
        clicked = torch.arange(len(pairs)) < len(prompts.points)
        logits, predicted = (each.float() for each in decoded(self.sam, embeddings, prompts))
        losses = mask_losses(logits, targets, self.lessons >= FOCAL_FROM)
        errors = (predicted - true_ious(logits, targets)).square()
        of_clicks = losses[:, 1:].amin(1) + SINGLE * losses[:, 0]
        of_masks = torch.where(clicked, of_clicks, losses[:, 0]) * real
        loss = of_masks.mean() + torch.where(clicked, errors.mean(1), errors[:, 0]).mean()
        if self.lessons < CORRECTED_FROM:
            return loss
        chosen = torch.where(clicked, 1 + predicted[:, 1:].argmax(1), 0)
        answers = logits.detach()[torch.arange(len(pairs)), chosen, None]
        rounds = int(rng.integers(1, 3))
        for _ in range(rounds):
            prompts = prompts.with_clicks(*self._corrections(answers, targets, rng), answers)
            logits, predicted = (each.float() for each in decoded(self.sam, embeddings, prompts))
            losses = mask_losses(logits[:, :1], targets, True)[:, 0]
            errors = (predicted[:, 0] - true_ious(logits[:, :1], targets)[:, 0]).square()
            loss = loss + ((losses + errors) * real).mean() / rounds
            answers = logits.detach()[:, :1]
        return loss

    @staticmethod
    def _targets(meant: list[np.ndarray | None], side: int) -> Tensor:
        """[P, side, side]: the share of each pixel that is the object's, 0 for the backdrop."""
        size = next((mask.shape for mask in meant if mask is not None), (side, side))
        masks = np.stack([np.zeros(size, bool) if mask is None else mask for mask in meant])
        return functional.adaptive_avg_pool2d(torch.from_numpy(masks).float(), side)

    def _corrections(
        self, answers: Tensor, targets: Tensor, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Clicks [P, 1, 2] in pixels with labels [P, 1]: where an answer misses its object (1) or spills."""
        wanted, given = (targets > 0.5).numpy(), (answers[:, 0] > 0).numpy()
        scale = self.sam.prompt_encoder.input_image_size[0] / targets.shape[-1]
        clicks, labels = [], []
        for right, mask in zip(wanted, given, strict=True):
            wrong = right != mask
            where = wrong if wrong.any() else np.ones_like(wrong)
            x, y = anywhere(where, rng)
            clicks.append([(x + 0.5) * scale - 0.5, (y + 0.5) * scale - 0.5])
            labels.append(float(right[int(y), int(x)]))
        return torch.tensor(clicks)[:, None], torch.tensor(labels)[:, None]

    def measured(self) -> str:
        few = slice(0, SAMPLE)
        held_out = SceneMaps(self.held_out.images[few], self.held_out.owners[few], self.held_out.kinds[few])
        result = found(self.average.module, held_out)
        return f"IoU click {result.click:.3f} (best {result.best:.3f}) box {result.box:.3f}"


def _averaged(averages: list[Tensor], weights: list[Tensor], count: Tensor) -> None:
    """In place, after ``count`` steps: of few steps, or the beginning would not be forgotten."""
    keep = min(AVERAGED, (1 + int(count)) / (10 + int(count)))
    torch._foreach_lerp_(averages, weights, 1 - keep)


def _prompts(prompts: list[Prompt]) -> Prompts:
    """Sorted: clicks first."""
    clicks = [prompt.click for prompt in prompts if prompt.box is None]
    boxes = [prompt.box for prompt in prompts if prompt.box is not None]
    return Prompts(
        torch.tensor(clicks).view(-1, 1, 2),
        torch.ones(len(clicks), 1),
        torch.zeros(len(boxes), 0, 2),
        torch.zeros(len(boxes), 0),
        torch.tensor(boxes).view(-1, 4),
    )


def _initialize(sam: Sam) -> None:
    """Positions of the encoder start as 2-D sines and cosines."""
    positions = sam.image_encoder.pos_embed
    _, height, width, channels = positions.shape
    with torch.no_grad():
        positions.copy_(sincos_positions(height, width, channels).view_as(positions))


def _matrices(sam: Sam) -> list[str]:
    """The weights of the linear layers in blocks."""
    return [
        f"sam.{name}.weight"
        for name, module in sam.named_modules()
        if isinstance(module, nn.Linear) and (".blocks." in name or ".transformer." in name)
    ]


def take_weights(sam: Sam, vit: Mapping[str, Tensor]) -> None:
    """The patch embedding, the positions and as many blocks as there are of timm's ViT of the same width."""
    encoder = sam.image_encoder
    own = encoder.state_dict()
    named = {name.replace("mlp.fc", "mlp.lin"): value.float() for name, value in vit.items()}
    taken = {name: value for name, value in named.items() if name in own and name != "pos_embed"}
    patches = taken["patch_embed.proj.weight"]
    side = own["patch_embed.proj.weight"].shape[-1]
    smaller = functional.interpolate(patches, (side, side), mode="bicubic")
    taken["patch_embed.proj.weight"] = smaller * (patches.shape[-1] / side) ** 2  # sums stay as large
    square = _square(named["pos_embed"][:, 1:]).permute(0, 3, 1, 2)  # without the class token's
    resized = functional.interpolate(square, own["pos_embed"].shape[1:3], mode="bicubic")
    taken["pos_embed"] = resized.permute(0, 2, 3, 1)
    encoder.load_state_dict({**own, **taken})


def _square(tokens: Tensor) -> Tensor:
    side = round(tokens.shape[1] ** 0.5)
    return tokens.view(len(tokens), side, side, -1)
