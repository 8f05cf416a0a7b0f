"""The three checkpoints that Segment Anything was published with, and where they are."""

import os
from dataclasses import dataclass
from pathlib import Path

from ...common.home import vitq_home
from ...common.sam_shape import VIT_B, VIT_H, VIT_L, SamShape

ADDRESS = "https://dl.fbaipublicfiles.com/segment_anything"  # VITQ_SAM_URL names another copy of the files


@dataclass(frozen=True)
class Published:
    """`size`: as the package's registry calls it; `sha256` of the whole `file`; `params`: without buffers."""

    size: str
    title: str
    shape: SamShape
    params: int
    file: str
    sha256: str

    @property
    def id(self) -> str:
        """What the catalogue calls it."""
        return f"sam-{self.size.replace('_', '-')}"

    @property
    def address(self) -> str:
        """Where the file can be downloaded."""
        return f"{(os.environ.get('VITQ_SAM_URL') or ADDRESS).rstrip('/')}/{self.file}"

    @property
    def path(self) -> Path:
        """Where the file is kept, or will be."""
        return vitq_home() / "sam" / self.file


PUBLISHED = (
    Published(
        "vit_b", "SAM ViT-B", VIT_B, 93_735_472, "sam_vit_b_01ec64.pth",
        "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
    ),
    Published(
        "vit_l", "SAM ViT-L", VIT_L, 312_342_832, "sam_vit_l_0b3195.pth",
        "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
    ),
    Published(
        "vit_h", "SAM ViT-H", VIT_H, 641_090_608, "sam_vit_h_4b8939.pth",
        "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
    ),
)  # fmt: skip


def published_as(name: str) -> Published | None:
    """By its id in the catalogue or the registry's name, `sam-vit-b` or `vit_b`; None for another name."""
    return next((item for item in PUBLISHED if name in (item.id, item.size)), None)
