"""What the papers print: top-1 accuracy on ImageNet's validation part, in percent, model by model.

Papers quote most rows from those before them; these are as LRP-QViT (arXiv 2401.11243) has them, what it
quotes included. A number that is not here was not at hand, and is not guessed.
"""

from __future__ import annotations

from collections.abc import Mapping

Numbers = Mapping[str, float]

MODELS = ("ViT-S", "ViT-B", "DeiT-T", "DeiT-S", "DeiT-B", "Swin-S", "Swin-B")


def _row(*numbers: float | None) -> Numbers:
    """Of all MODELS, in their order; None where a paper prints none."""
    pairs = zip(MODELS, numbers, strict=True)
    return {model: number for model, number in pairs if number is not None}


FULL = _row(81.39, 84.54, 72.21, 79.85, 81.80, 83.23, 85.27)

# {(method's title, bits of weights and activations): numbers}
MAIN: Mapping[tuple[str, int], Numbers] = {
    ("FQ-ViT", 4): _row(0.10, 0.10, 0.10, 0.10, 0.10, 0.10, 0.10),
    ("PTQ4ViT", 4): _row(42.57, 30.69, 36.96, 34.08, 64.39, 76.09, 74.02),
    ("APQ-ViT", 4): _row(47.95, 41.41, 47.94, 43.55, 67.48, 77.15, 76.48),
    ("RepQ-ViT", 4): _row(65.05, 68.48, 57.43, 69.03, 75.61, 79.45, 78.32),
    ("CRL-QViT", 4): _row(68.25, 73.54, 59.06, 70.78, 77.40, 80.55, 80.04),
    ("LRP-QViT", 4): _row(70.81, 75.37, 61.24, 72.43, 78.13, 81.37, 80.77),
    ("FQ-ViT", 6): _row(4.26, 0.10, 58.66, 45.51, 64.63, 66.50, 52.09),
    ("PSAQ-ViT", 6): _row(37.19, 41.52, 57.58, 63.61, 67.95, 72.86, 76.44),
    ("Ranking", 6): {"ViT-B": 75.26, "DeiT-S": 74.58, "DeiT-B": 77.02},
    ("PTQ4ViT", 6): _row(78.63, 81.65, 69.68, 76.28, 80.25, 82.38, 84.01),
    ("APQ-ViT", 6): _row(79.10, 82.21, 70.49, 77.76, 80.42, 82.67, 84.18),
    ("RepQ-ViT", 6): _row(80.43, 83.62, 70.76, 78.90, 81.27, 82.79, 84.57),
    ("CRL-QViT", 6): {"DeiT-S": 79.00},
    ("LRP-QViT", 6): _row(80.59, 83.87, 71.03, 79.03, 81.44, 82.86, 84.72),
}
# DeiT-S at W4/A4: scales of the inputs behind a LayerNorm.
NORMS = {"layer-wise": 33.17, "channel-wise": 70.28, "RepQ-ViT": 69.03, "CRL": 70.78}
# DeiT-S at W4/A4: (blocks with a bit more, whether others get one less).
BLOCKS = {(1, False): 74.35, (2, False): 75.66, (1, True): 72.43, (2, True): 72.82}
ADFQ: Mapping[int, Numbers] = {4: {"ViT-B": 78.71}, 6: {}}
