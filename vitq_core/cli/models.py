"""`vitq models`."""

from __future__ import annotations

from .application import command
from .options import Json


@command("vitq models")
def models(as_json: Json = False) -> None:
    """List the models that can be named, and whether they are here or have to be downloaded.

    Folders, files of weights and hf-hub:user/name of the Hugging Face hub can be named too.
    """
    import vitq_core as vq
    from vitq_core.experiment import is_here

    from .output import show, table

    rows = [
        {
            "id": info.id, "title": info.title, "task": info.task, "parameters": info.params,
            "here": is_here(info), "size_mb": 4 * info.params / 1e6, "about": info.summary,
        }
        for info in vq.list_models()
    ]  # fmt: skip
    shown = [
        (row["id"], row["title"], row["task"], f"{row['parameters']:,}", f"{row['size_mb']:.1f}",
         "here" if row["here"] else "to download")
        for row in rows
    ]  # fmt: skip
    show(rows, table(shown, ("id", "title", "task", "parameters", "MB", "where")), as_json)
