"""A Sam whose answers lie around the click: what has random weights says the same wherever it is clicked."""

import torch
from segment_anything.modeling import Sam
from torch import Tensor, nn
from torch.nn import functional

from tests.sam import tiny_sam

LEVELS = torch.tensor([0.3, 0.6, 0.8]).view(3, 1, 1)  # three sizes
STEEP = 40.0


class NearTheClick(nn.Module):
    """In place of a mask decoder: how alike the encodings of the click's place and of every other place are.

    With few frequencies there are specks and holes too. Of the picture it knows how bright it is.
    """

    def __init__(self, inside: Tensor) -> None:
        """``inside`` [1, D]: what the prompt encoder adds to the place of a click on the object."""
        super().__init__()
        self.register_buffer("inside", inside)

    def forward(
        self,
        image_embeddings: Tensor,
        image_pe: Tensor,
        sparse_prompt_embeddings: Tensor,
        dense_prompt_embeddings: Tensor,
        multimask_output: bool,
    ) -> tuple[Tensor, Tensor]:
        place = sparse_prompt_embeddings[:, 0] - self.inside
        alike = torch.einsum("bd,dhw->bhw", place, image_pe[0]) * 2 / place.shape[1]
        logits = STEEP * (functional.interpolate(alike[:, None], scale_factor=4, mode="bicubic") - LEVELS)
        seen = logits.flatten(2).std(-1) / STEEP + image_embeddings.mean().tanh() * 0.1
        return logits, 0.95 - seen.clamp(0, 0.5)


def near_the_click(seed: int = 0) -> Sam:
    """Input of 128 pixels."""
    sam = tiny_sam(seed=seed).requires_grad_(False)
    sam.mask_decoder = NearTheClick(sam.prompt_encoder.point_embeddings[1].weight.detach())
    return sam
