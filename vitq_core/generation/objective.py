"""What makes a picture look real to a model (PSAQ-ViT, arXiv 2203.02250): the sum that is made small."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..common.batch import Batch
from ..common.hooks import hooked
from ..graph.prepared import PreparedModel
from .entropy import patch_similarity_entropy
from .variation import total_variation

VARIATION_WEIGHT = 0.05


@dataclass(frozen=True)
class Objective:
    """``prepared``: by which pictures are judged. ``targets`` [B]: the class that each should show, None for
    a model without classes. ``variation``: the total variation to come near to. ``prefix``: tokens that come
    before the patches."""

    prepared: PreparedModel
    targets: Tensor | None
    variation: float
    prefix: int

    def __call__(self, images: Tensor) -> Tensor:
        """A number, to be differentiated, of ``images`` [B, C, H, W]."""
        terms = self.terms(images)
        return terms["patches"] + terms["classes"] + VARIATION_WEIGHT * terms["variation"]

    def terms(self, images: Tensor) -> dict[str, Tensor | float]:
        """``patches``: less where they differ more; ``classes``: cross-entropy with the targets, 0 without;
        ``variation``: how far from the wanted one."""
        prepared, entropies = self.prepared, []

        def look(module: object, inputs: object, attended: Tensor) -> None:
            entropies.append(patch_similarity_entropy(attended, len(images), self.prefix))

        layers = [prepared.module.get_submodule(name) for name in attentions(prepared)]
        with hooked(*((layer, look) for layer in layers)):
            outputs = prepared.task.run(prepared.module, Batch((images,)))
        wanted = self.targets
        likely = 0.0 if wanted is None else prepared.task.likelihood(outputs, wanted).mean()
        rough = (total_variation(images) - self.variation).abs()
        return {"patches": -sum(entropies), "classes": -likely, "variation": rough}


def attentions(prepared: PreparedModel) -> list[str]:
    """The layers that average values by attention, in forward order: those that read a softmax."""
    return [
        name
        for name, layer in prepared.layers.items()
        if any(site.role == "post_softmax" for site in layer.inputs)
    ]
