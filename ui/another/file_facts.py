"""What a file of weights is, as a visitor reads it before it is used."""

from __future__ import annotations

from pathlib import Path

from vitq_core import FileDescription
from vitq_core.experiment import counted, readable

from ..parts.markup import fact_list

KINDS = {"vit": "Vision transformer", "swin": "Swin", "segment_anything": "Segment Anything"}


def file_facts(path: Path, found: FileDescription) -> str:
    rows = [("File", readable(path.name)), ("Kind", _kind(found)), ("Size", f"{found.params:,} numbers")]
    if found.architecture:
        rows.append(("Architecture", found.architecture))
    if found.patch_size:
        rows.append(("Shape", _shape(found)))
    if found.family in ("vit", "swin"):
        said = counted(found.classes, "class", "classes") if found.classes else "none: it describes pictures"
        rows.append(("Classes", said))
    if found.under:
        rows.append(("Weights under", found.under))
    return fact_list(rows)


def _kind(found: FileDescription) -> str:
    return KINDS.get(found.family, "another model of timm's")


def _shape(found: FileDescription) -> str:
    blocks = "+".join(map(str, found.depth))
    return f"{blocks} blocks, width {found.width}, patches of {found.patch_size}×{found.patch_size} pixels"
