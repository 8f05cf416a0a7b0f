"""`python docs/tables.py` puts the table of docs/features.json into README.md and docs/measurements.md."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
WIDTHS = ("8/8", "6/6", "4/4")
PAGES = {
    ROOT / "README.md": ("token_cosine", "class_cosine"),
    DOCS / "measurements.md": ("token_cosine", "token_min", "class_cosine", "class_min"),
}
MARKED = re.compile(r"(<!-- features -->\n).*?(<!-- end -->)", re.DOTALL)


def table(rows: list[Mapping], columns: tuple[str, ...]) -> str:
    """A line for every recipe, a column for every width; means and minima in the order of `columns`."""
    cells: dict[str, dict[str, str]] = {}
    for row in rows:
        said = " / ".join(f"{row[name]:.3f}" for name in columns) if "token_cosine" in row else "refused"
        cells.setdefault(row["recipe"], {})[f"{row['weight_bits']}/{row['act_bits']}"] = said
    head = "| recipe | " + " | ".join("W{}/A{}".format(*width.split("/")) for width in WIDTHS) + " |"
    lines = [
        f"| `{name}` | " + " | ".join(found[width] for width in WIDTHS) + " |"
        for name, found in cells.items()
    ]
    return "\n".join([head, "|---" * (len(WIDTHS) + 1) + "|", *lines]) + "\n"


def filled(page: str, columns: tuple[str, ...]) -> str:
    """`page` with the table between its marks."""
    rows = json.loads((DOCS / "features.json").read_text())
    return MARKED.sub(lambda found: found[1] + table(rows, columns) + found[2], page)


if __name__ == "__main__":
    for path, columns in PAGES.items():
        path.write_text(filled(path.read_text(), columns))
